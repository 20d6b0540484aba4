"""Trials of a study: one transaction to begin them, and all that is known of them visible."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from autoprune.agent.feasible.encoding import Encoding, levels_of
from autoprune.agent.loop.trials import Told, abandon, ask, ended, reliability, tell, tell_all
from autoprune.agent.samplers.attributes import PLACE
from autoprune.agent.samplers.belief import Forecaster
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.agent.samplers.pool import Pool
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import ABANDONED
from autoprune.testing.chains import chain

PROJECTION = chain(
    {f"u{at}": range(16, 2, -2) for at in range(6)}, "macs=50%", ("channel.l1", "channel.l2")
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


@pytest.fixture
def sampler() -> BudgetedSampler:
    return BudgetedSampler(PROJECTION, 0, rollback=0.0)


@pytest.fixture
def study(url: str, sampler: BudgetedSampler) -> Iterator[optuna.Study]:
    study = open_study(url, "s", sampler=sampler)
    yield study
    close_study(study)


def scored(sampler: BudgetedSampler, params: Any, score: float | None, outcome: str) -> Evaluation:
    policy = sampler.encoding.policy(sampler.encoding.row(params))
    return Evaluation(policy, outcome, score, None if score is None else -score, 0.0, 0.0)


def step(study: optuna.Study, sampler: BudgetedSampler, score: float) -> None:
    trial, params = ask(study, sampler)
    tell(trial, scored(sampler, params, score, "scored"), {"macs": 3.0})


def clock_at_end(study: optuna.Study, number: int, time: str) -> None:
    """Let a trial of a database have ended at some time, as if a clock had said so."""
    with study._storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            sqlalchemy.text("UPDATE trials SET datetime_complete = :at WHERE number = :n"),
            {"at": time, "n": number},
        )


def test_a_trial_begins_in_one_transaction(study: optuna.Study, sampler: BudgetedSampler) -> None:
    for score in range(6):
        step(study, sampler, score + 1.0)
    written: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("INSERT"):
            written.append(statement)

    commits: list[int] = []
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "commit", lambda _: commits.append(len(written)))
    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    trial, _ = ask(study, sampler)
    written_by = [after - before for before, after in zip([0, *commits], commits, strict=False)]
    assert sum(count > 0 for count in written_by) == 1, written
    assert sum("trial_params" in one for one in written) == 1, "parameters go in together"
    assert trial.number == 6


def test_what_is_asked_and_told_is_visible_to_others(
    url: str, study: optuna.Study, sampler: BudgetedSampler
) -> None:
    for score in range(8):
        step(study, sampler, score + 1.0)
    running, params = ask(study, sampler)
    other = open_study(url, "s")
    seen = other.trials[-1]
    assert seen.state == TrialState.RUNNING
    assert seen.params == params == running.params
    assert seen.distributions == sampler.space
    assert seen.user_attrs["source"] in ("random", "allocation", "switch", "cross")
    assert set(seen.user_attrs["predicted"]) == {"expected", "low", "high"}
    tell(running, scored(sampler, params, 2.5, "scored"), {"macs": 7.0})
    seen = other.trials[-1]
    assert (seen.state, seen.value) == (TrialState.COMPLETE, 2.5)
    assert seen.datetime_complete is not None
    facts = {name: seen.user_attrs[name] for name in ("outcome", "quality", "costs")}
    assert facts == {"outcome": "scored", "quality": -2.5, "costs": {"macs": 7.0}}
    assert reliability(other).count > 0
    close_study(other)


@pytest.mark.parametrize("name", ["budgeted", "tpe", "cmaes"])
def test_the_limits_of_the_budget_are_constraints_of_every_trial(url: str, name: str) -> None:
    widths = {"a": range(12, 0, -1), "b": range(16, 0, -2)}
    projection = chain(widths, "macs=60%,params=70%", ("channel.l1",))
    sampler = make_sampler(name, Start(projection=projection, seed=0))
    study = open_study(url, name, sampler=sampler)
    trials = [ask(study, sampler)[0].number for _ in range(2)]
    trials.append(study.ask(sampler.space).number)  # as a study of the user's own does
    limits = projection.budget.resolve(projection.cost.dense)
    for number in trials:
        told = study.trials[number]
        costs = projection.price(levels_of(told.params, projection.spaces)).as_dict()
        assert told.constraints == {one: costs[one] / limits[one] - 1 for one in limits}
        assert sorted(told.constraints) == ["macs", "params"]
        assert max(told.constraints.values()) <= 0, "it is feasible"
    close_study(study)


def test_a_trial_that_another_agent_ended_is_not_abandoned(
    url: str, sampler: BudgetedSampler
) -> None:
    study = open_study(url, "run", sampler=sampler)
    trial, _ = ask(study, sampler)
    other = open_study(url, "run", sampler=sampler)
    other.tell(trial.number, 0.5)
    abandon(trial)
    (kept,) = other.get_trials()
    assert (kept.state, kept.value) == (TrialState.COMPLETE, 0.5)
    assert kept.user_attrs.get("outcome") != ABANDONED
    for one in (study, other):
        close_study(one)


def test_what_failed_was_stopped_or_abandoned_says_so(
    study: optuna.Study, sampler: BudgetedSampler
) -> None:
    for outcome in ("failed: no number", "stopped: worse"):
        trial, params = ask(study, sampler)
        tell(trial, scored(sampler, params, None, outcome), {})
    abandon(ask(study, sampler)[0])
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL]
    assert study.trials[2].user_attrs["outcome"] == ABANDONED
    assert {trial.number for trial in ended(study)} == {0, 1}


@pytest.mark.parametrize("placed", [True, False])
def test_trials_are_recalled_in_the_order_in_which_they_ended(
    url: str, study: optuna.Study, sampler: BudgetedSampler, placed: bool
) -> None:
    asked = [ask(study, sampler) for _ in range(4)]
    for place, at in enumerate((2, 0, 3, 1), 1):
        trial, params = asked[at]
        found = scored(sampler, params, 1.0, "scored")
        tell_all([Told(trial, found, {"macs": 3.0}, {PLACE: place} if placed else {})])
        clock_at_end(study, at, f"2030-01-01 00:00:{9 - place if placed else place:02}")
    resumed = open_study(url, "s")
    assert [trial.number for trial in ended(resumed)] == [2, 0, 3, 1]
    assert [trial.number for trial in ended(resumed, after={0, 3})] == [2, 1]
    close_study(resumed)


def test_what_was_stored_reads_the_same_in_a_fresh_process(
    url: str, study: optuna.Study, sampler: BudgetedSampler
) -> None:
    for score in range(5):
        step(study, sampler, score + 1.0)
    plain = optuna.load_study(study_name="s", storage=url)
    for ours, theirs in zip(study.trials, plain.trials, strict=True):
        assert ours == theirs
    close_study(plain)


def test_another_distribution_of_the_same_name_is_refused(
    study: optuna.Study, sampler: BudgetedSampler
) -> None:
    step(study, sampler, 1.0)
    step(study, sampler, 1.0)
    categories = optuna.distributions.CategoricalDistribution(["x"])
    with pytest.raises(ValueError, match="different"):
        study.add_trial(
            create_trial(params={"level:u0": "x"}, distributions={"level:u0": categories}, value=1)
        )


# --- what is known of a study


def told(encoding: Encoding, state: TrialState, value: float | None, **rest: Any) -> Any:
    row = encoding.random(np.random.default_rng(int(100 * abs(value or 0))), 1)[0]
    spaces = {f"level:{u}": IntDistribution(0, s.levels - 1) for u, s in encoding.spaces.items()}
    params = {n: v for n, v in encoding.params(row).items() if n in spaces}
    return create_trial(
        state=state, value=value, params=params, distributions=dict(spaces), **rest
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_an_early_stop_counts_by_the_line_through_the_others(sign: int) -> None:
    encoding = Encoding(PROJECTION.spaces)
    study = optuna.create_study(direction="minimize" if sign == 1 else "maximize")
    for number in range(8):
        early = float(number)
        reports = {10: sign * early, 20: sign * 99.0}
        final = sign * (2 * early + 1)
        study.add_trial(told(encoding, TrialState.COMPLETE, final, intermediate_values=reports))
    stopped = {"intermediate_values": {10: sign * 20.0}}
    study.add_trial(told(encoding, TrialState.PRUNED, None, **stopped))
    study.add_trial(told(encoding, TrialState.PRUNED, None))
    known = History(encoding).read(study)
    assert known.values[8] == pytest.approx(41)
    assert known.noise[8] == pytest.approx(0, abs=1e-9)
    assert np.isnan(known.values[9])
    assert np.isnan(known.first(7).values).sum() == 0
    assert known.best(1).tolist() == [known.rows[0].tolist()]


def test_scores_without_end_are_as_good_as_failures() -> None:
    encoding = Encoding(PROJECTION.spaces)
    study = optuna.create_study()
    for value in (float("-inf"), 1.0, float("inf")):
        study.add_trial(
            create_trial(
                value=value,
                params=encoding.params(np.zeros(12, np.int64)),
                distributions=BudgetedSampler(PROJECTION, 0).space,
            )
        )
    known = History(encoding).read(study)
    assert np.isfinite(known.values).tolist() == [False, True, False]


def test_a_trial_that_ended_elsewhere_before_the_last_read_is_put_in_order(
    sampler: BudgetedSampler,
) -> None:
    study = optuna.create_study(sampler=sampler)
    history = History(sampler.encoding)
    trials = [ask(study, sampler) for _ in range(3)]

    def end(at: int, score: float, year: int) -> None:
        study.tell(trials[at][0], score)
        stored = study._storage._studies[0].trials[at]  # type: ignore[attr-defined]
        stored.datetime_complete = datetime(year, 1, 1)

    end(2, 5.0, year=2031)
    end(0, 6.0, year=2032)
    known = history.read(study)
    assert known.values.tolist() == [5.0, 6.0], "in the order in which they ended"
    assert len(known.pending) == 1
    end(1, 7.0, year=2033)
    fresh = History(sampler.encoding).read(study)
    assert history.read(study).rows.tolist() == fresh.rows.tolist()
    early = create_trial(value=8.0, params=trials[0][1], distributions=sampler.space)
    early.datetime_complete = datetime(2030, 1, 1)
    study.add_trial(early)
    assert history.read(study).values.tolist() == [8.0, 5.0, 6.0, 7.0]


def test_no_jump_of_a_clock_changes_the_order_of_trials_that_were_told_their_places(
    study: optuna.Study, sampler: BudgetedSampler
) -> None:
    for place, score in enumerate((5.0, 6.0, 7.0), 1):
        trial, params = ask(study, sampler)
        found = scored(sampler, params, score, "scored")
        tell_all([Told(trial, found, {"macs": 3.0}, {PLACE: place})])
        clock_at_end(study, trial.number, f"{2030 - place}-01-01 00:00:00")
    again = optuna.load_study(study_name="s", storage=study._storage)
    assert History(sampler.encoding).read(again).values.tolist() == [5.0, 6.0, 7.0]


def test_what_is_believed_does_not_depend_on_when_it_was_asked(sampler: BudgetedSampler) -> None:
    """Variances are fitted now and then; whoever asks later must find the same ones."""
    study = optuna.create_study(sampler=sampler)
    always = Forecaster(Pool.of(PROJECTION, sampler.encoding, None))
    history = History(sampler.encoding)
    for number in range(30):
        trial, params = ask(study, sampler)
        row = sampler.encoding.row(params)
        score = float((sampler.encoding.removed(row) ** 2).sum()) - 0.5 * (number > 20)
        trial.report(score, 1)
        stopped = number % 4 == 3
        study.tell(trial, None if stopped else score, TrialState.PRUNED if stopped else None)
        belief = always.belief(history.read(study))
        later = Forecaster(always.pool).belief(History(sampler.encoding).read(study))
        if belief is None or later is None:
            assert (belief, later, number < 5) == (None, None, True)
        else:
            assert belief.interval(row) == later.interval(row), number


def test_many_failures_before_the_first_scores_are_no_trouble(sampler: BudgetedSampler) -> None:
    study = optuna.create_study(sampler=sampler)
    for number in range(60):
        trial, _ = ask(study, sampler)
        if number < 50:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, float(number))
    known = History(sampler.encoding).read(study)
    belief = Forecaster(sampler.pool).belief(known)
    assert belief is not None
    assert all(np.isfinite(belief.interval(known.rows[-1])))
