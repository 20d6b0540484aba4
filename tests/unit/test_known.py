"""What a study knows: the same however often it was read before."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.trial import Trial, TrialState

from autoprune.agent.feasible.encoding import Encoding, Rows, distributions
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.known import Known
from autoprune.core.arrays import Bools
from autoprune.predictor.prequential import Prediction
from autoprune.space.schema import UnitSpace
from autoprune.storage.study_trials import ABANDONED

pytestmark = pytest.mark.usefixtures("quiet_optuna")

METHODS = ("channel.l1", "channel.l2")
ENCODING = Encoding(
    {f"u{n}": UnitSpace(f"u{n}", 9, METHODS, tuple(range(9, 0, -1))) for n in "abc"}
)
SPACE = distributions(ENCODING.spaces)


def a_study(direction: Literal["minimize", "maximize"] = "minimize") -> optuna.Study:
    return optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))


def ask(study: optuna.Study, *reports: float) -> Trial:
    trial = study.ask(SPACE)
    for stage, value in enumerate(reports):
        trial.report(value, stage)
    return trial


def tell(study: optuna.Study, value: float, *reports: float) -> Rows:
    trial = ask(study, *reports)
    study.tell(trial, value)
    return ENCODING.row(trial.params)


def read(study: optuna.Study) -> Known:
    return History(ENCODING).read(study)


def same(first: Known, second: Known) -> bool:
    pairs = [(getattr(first, at), getattr(second, at)) for at in ("rows", "pending")]
    numbers = [(getattr(first, at), getattr(second, at)) for at in ("values", "noise")]
    return (
        all(np.array_equal(*pair) for pair in pairs)
        and all(np.allclose(*pair, rtol=1e-12, equal_nan=True) for pair in numbers)
        and first.tried == second.tried
    )


def test_scores_failures_and_what_is_pending() -> None:
    study = a_study()
    first = tell(study, 3.0)
    study.tell(ask(study), state=TrialState.FAIL)
    lost = ask(study)
    lost.set_user_attr("outcome", "failed")
    study.tell(lost, state=TrialState.FAIL)
    second = tell(study, 1.0)
    pending = ENCODING.row(ask(study).params)
    known = read(study)
    assert known.values == pytest.approx([3.0, np.nan, np.nan, 1.0], nan_ok=True)
    assert np.array_equal(known.rows[[0, 3]], np.stack([first, second]))
    assert np.array_equal(known.pending, pending[None])
    assert known.tried == {row.tobytes() for row in (*known.rows, pending)}
    assert np.array_equal(known.best(5), np.stack([second, first])), "failures are not among them"
    assert np.array_equal(known.best(1), second[None])
    assert len(known.first(1).rows) == len(known.first(1).values) == 1
    assert len(known.first(1).pending) == 0


def test_no_more_is_priced_than_the_best_inside_take() -> None:
    study = a_study()
    rng = np.random.default_rng(0)
    for value in rng.permutation(300).tolist():
        tell(study, float(value))
    study.tell(ask(study), state=TrialState.FAIL)
    known, asked = read(study), list[int]()

    def odd(rows: Rows) -> Bools:
        asked.append(len(rows))
        inside: Bools = rows[:, 0] % 2 == 1
        return inside

    found = known.leading(5, odd)
    expected = [at for at in np.argsort(known.values) if known.rows[at, 0] % 2][:5]
    assert found == expected
    assert sum(asked) < 100
    assert known.leading(500, odd) == known.leading(301, odd)
    assert known.leading(3, lambda rows: np.zeros(len(rows), bool)) == []


def test_attributes_of_users_are_no_reports() -> None:
    """Only the study of a front, which takes no reports, holds them as an attribute."""
    study = a_study()
    trial = ask(study)
    trial.set_user_attr("stages", 4)
    study.tell(trial, 1.0)
    assert read(study).reports == [{}]


def test_an_empty_study_knows_nothing() -> None:
    known = read(a_study())
    assert known.rows.shape == known.pending.shape == (0, 6)
    assert len(known.values) == len(known.best(3)) == 0
    assert known.tried == set()


def test_where_more_is_better_scores_change_their_sign() -> None:
    study = a_study("maximize")
    tell(study, 3.0)
    best = tell(study, 5.0)
    assert read(study).values.tolist() == [-3.0, -5.0]
    assert np.array_equal(read(study).best(1), best[None])


def test_what_was_abandoned_and_what_is_no_policy_is_not_known() -> None:
    study = a_study()
    lost = ask(study)
    lost.set_user_attr("outcome", ABANDONED)
    study.tell(lost, state=TrialState.FAIL)
    other = study.ask()
    other.suggest_float("rate", 0, 1)
    study.tell(other, 1.0)
    assert len(read(study).rows) == 0


def a_line(study: optuna.Study, count: int, off: float = 0.0) -> None:
    """End trials whose final score is twice the first stage's, and one more."""
    for number in range(count):
        early = 1.0 + number
        tell(study, 2 * early + 1 + off * (-1) ** number, early)


def test_what_was_stopped_early_counts_by_what_it_would_have_come_to() -> None:
    study = a_study()
    a_line(study, 8)
    study.tell(ask(study, 20.0), state=TrialState.PRUNED)
    known = read(study)
    assert known.values[-1] == pytest.approx(41.0)
    assert known.noise == pytest.approx(np.zeros(9), abs=1e-9)


def test_early_stops_are_as_unsure_as_the_line_misses() -> None:
    study = a_study()
    a_line(study, 40, off=0.5)
    study.tell(ask(study, 20.0), state=TrialState.PRUNED)
    known = read(study)
    assert known.values[-1] == pytest.approx(41.0, abs=0.2)
    assert known.noise[-1] == pytest.approx(0.5, abs=0.02)
    assert not known.noise[:-1].any()


def test_early_stops_say_nothing_before_enough_went_on() -> None:
    study = a_study()
    a_line(study, 7)
    study.tell(ask(study, 20.0), state=TrialState.PRUNED)
    study.tell(ask(study), state=TrialState.PRUNED)  # nothing was reported
    assert np.isnan(read(study).values[-2:]).all()
    assert not read(study).noise.any()


def test_the_line_is_that_of_the_stage_reached_and_follows_the_direction() -> None:
    both: Sequence[tuple[int, Literal["minimize", "maximize"]]]
    both = [(1, "minimize"), (-1, "maximize")]
    for sign, direction in both:
        study = a_study(direction)
        for number in range(9):
            tell(study, sign * 3.0 * number, sign * 100.0, sign * 1.0 * number)
        study.tell(ask(study, sign * 100.0, sign * 5.0), state=TrialState.PRUNED)
        known = read(study)
        assert known.values[9] == pytest.approx(15.0)


def test_reading_in_steps_is_reading_afresh() -> None:
    rng = np.random.default_rng(0)
    study, history, open_ = a_study(), History(ENCODING), list[Trial]()
    for number in range(60):
        open_.append(ask(study, float(rng.random()), float(rng.random())))
        if rng.random() < 0.7:
            trial = open_.pop(int(rng.integers(len(open_))))  # they end in another order
            kind = int(rng.integers(5))
            if kind == 0:
                study.tell(trial, state=TrialState.FAIL)
            elif kind == 1:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                trial.set_user_attr("outcome", ABANDONED if kind == 2 else "scored")
                state = TrialState.FAIL if kind == 2 else TrialState.COMPLETE
                study.tell(trial, None if kind == 2 else float(rng.random()), state=state)
        if number % 3:
            assert same(history.read(study), read(study))
    assert len(open_) == len(read(study).pending) > 0
    assert np.isfinite(read(study).values).sum() > 8


def test_one_history_can_read_two_studies() -> None:
    history, first, second = History(ENCODING), a_study(), a_study()
    tell(first, 1.0)
    assert history.read(first).values.tolist() == [1.0]
    tell(second, 2.0)
    tell(second, 3.0)
    assert history.read(second).values.tolist() == [2.0, 3.0]
    assert history.read(first).values.tolist() == [1.0]


def test_of_many_the_best_and_the_latest_are_learned_from() -> None:
    study = a_study()
    for value in (1, 9, 2, 8, 7, 6, 5, 4):
        tell(study, float(value))
    known = read(study)
    assert known.chosen(8).tolist() == list(range(8))
    assert known.chosen(4).tolist() == [0, 2, 6, 7]
    assert known.chosen(6).tolist() == [0, 2, 5, 6, 7], "some are both"


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_predictions_are_read_with_the_scores_they_came_to(
    direction: Literal["minimize", "maximize"],
) -> None:
    """What is expected is stored with lower as better, whichever way the study goes."""
    study, sign = a_study(direction), 1.0 if direction == "minimize" else -1.0
    said = {"expected": 2.0, "low": 1.0, "high": 3.0}
    for attribute in (said, {"expected": 2.0}, "good", None):
        trial = ask(study)
        trial.set_user_attr("predicted", attribute)
        study.tell(trial, sign * 2.5)
    failed = ask(study)
    failed.set_user_attr("predicted", said)
    study.tell(failed, state=TrialState.FAIL)
    assert read(study).predictions == [Prediction(2.0, 1.0, 3.0, 2.5)]
