"""What every sampler of policies promises; built-in ones pass the same tests."""

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import IntDistribution
from optuna.trial import Trial, TrialState, create_trial

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.trials import abandon, ask, ask_all
from autoprune.agent.samplers.attributes import AGAIN
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import Kind, Start
from autoprune.testing.chains import chain

_METHODS = ("channel.l1", "channel.l2")
Direction = Literal["minimize", "maximize"]
_DIRECTIONS: tuple[Direction, Direction] = ("minimize", "maximize")
_TRIALS = 24  # some learn after ten


def mixed() -> Projection:
    """Return units with one and two methods, and one that is kept or left out."""
    kept = {f"u{at}": range(16, 2, -2) for at in range(4)} | {"block": (8, 0)}
    methods = dict.fromkeys(kept, _METHODS) | {"u1": _METHODS[:1], "block": ("block.l1",)}
    return chain(kept, "macs=50%", methods)


def single() -> Projection:
    """Return one unit with one method."""
    return chain({"u": range(40, 0, -1)}, "params=60%")


def pair() -> Projection:
    """Return two units under two limits."""
    kept = {"a": range(12, 0, -1), "b": range(16, 0, -2)}
    return chain(kept, "macs=60%,params=70%", _METHODS)


CASES: tuple[Callable[[], Projection], ...] = (mixed, single, pair)


class SamplerContract:
    """Subclass it, return your sampler from `kind`, and let pytest collect the subclass.

    >>> class TestMine(SamplerContract):
    ...     def kind(self) -> Kind:
    ...         return Kind(lambda start: Mine(start.projection, start.seed))

    Attributes:
        draws: Whether anything depends on the seed.
    """

    draws = True

    def kind(self) -> Kind:
        """Return what makes the sampler."""
        raise NotImplementedError

    def make(self, projection: Projection, seed: int = 0) -> PolicySampler:
        """Return the sampler, for a projection."""
        return self.kind().make(Start(projection=projection, seed=seed))

    def test_what_is_proposed_is_feasible_and_spends_the_budget(self) -> None:
        for projection in (case() for case in CASES):
            tried = set[bytes]()
            for row in self._rows(self.make(projection)):
                assert projection.meets(_levels(projection, row)[None])[0], f"{row} is outside"
                for less in _lower(projection, row):
                    assert less.tobytes() in tried | {row.tobytes()}, f"{row} leaves {less}"
                tried.add(row.tobytes())

    def test_nothing_is_proposed_twice_while_there_is_something_new(self) -> None:
        for case in CASES:
            sampler = self.make(case())
            rows = [row.tobytes() for row in self._rows(sampler)]
            count = feasible(case())
            if sampler.goes_on:
                assert len(set(rows)) == min(len(rows), count), case.__name__
            first = len(set(rows))
            assert len(set(rows[:first])) == first, "it repeats itself before it is through"

    def test_a_seed_decides(self) -> None:
        first, again = (_bytes(self._rows(self.make(mixed()))) for _ in range(2))
        assert first == again, "the same seed proposes the same"
        other = _bytes(self._rows(self.make(mixed(), seed=1)))
        assert (first != other) == self.draws, "another seed proposes something else if it draws"

    def test_a_resumed_search_goes_on_as_if_it_had_never_stopped(self) -> None:
        whole = _bytes(self._rows(self.make(mixed())))
        study = study_of(self.make(mixed()))
        found = list[bytes]()
        for number in range(_TRIALS):
            if number in (1, 3, 11, 17):
                study.sampler = self.make(mixed())
            found += _bytes([step(study, number)])
        assert found == whole

    def test_parallel_trials_get_different_policies(self) -> None:
        study = study_of(self.make(mixed()))
        for number in range(5):
            step(study, number)
        sampler = self._sampler(study)
        rows = _bytes([sampler.encoding.row(ask(study, sampler)[1]) for _ in range(8)])
        assert len(set(rows)) == 8 or not sampler.goes_on, "two work on the same policy"

    def test_several_that_are_asked_for_at_once_are_different_and_feasible(self) -> None:
        for case in CASES:
            study = self._scored(case(), 5)
            sampler = self._sampler(study)
            rows = [sampler.encoding.row(params) for _, params in ask_all(study, sampler, 12)]
            assert sampler.projection.meets(_levels(sampler.projection, np.stack(rows))).all()
            assert len(set(_bytes(rows))) == 12 or not sampler.goes_on, case.__name__
            again = self._scored(case(), 5)
            same = ask_all(again, self._sampler(again), 12)
            assert _bytes([sampler.encoding.row(p) for _, p in same]) == _bytes(rows)
            alone = self._scored(case(), 5)
            _, params = ask(alone, self._sampler(alone))
            assert (sampler.encoding.row(params) == rows[0]).all(), "the first is as if alone"

    def test_where_fewer_are_left_than_are_asked_for_the_last_one_repeats(self) -> None:
        study, count = self._scored(single(), 3), feasible(single())
        sampler = self._sampler(study)
        tried = set(_bytes([sampler.encoding.row(trial.params) for trial in study.trials]))
        asked = ask_all(study, sampler, count + 9)
        *new, last = _bytes([sampler.encoding.row(params) for _, params in asked])
        whole = len(new) == count - len(tried) or not sampler.goes_on
        once = last in tried | set(new) and len({*new} - tried) == len(new)
        assert (whole and once) or sampler.needs_trial  # that one is asked for each by itself

    def test_what_is_proposed_is_known_to_others_before_its_parameters_are_stored(self) -> None:
        samplers = [self.make(mixed()) for _ in range(3)]  # as of three processes
        first = study_of(samplers[0])
        name, storage = first.study_name, first._storage
        others = [optuna.load_study(study_name=name, storage=storage, sampler=s) for s in samplers]
        trials = [study.ask() for _ in range(3) for study in others]
        for trial in trials:
            trial.suggest_float("rate", 0, 1)
        rows = _bytes([_row(samplers[0], trial) for trial in trials])
        assert len(set(rows)) == 9 or not samplers[0].goes_on, "two work on the same policy"

    def test_threads_get_different_policies(self) -> None:
        sampler = self.make(mixed())
        study = study_of(sampler)
        study.optimize(lambda trial: _score(_row(sampler, trial)), n_trials=_TRIALS, n_jobs=2)
        rows = [sampler.encoding.row(trial.params) for trial in study.trials]
        assert sampler.projection.meets(_levels(sampler.projection, np.stack(rows))).all()
        assert len(set(_bytes(rows))) == _TRIALS or not sampler.goes_on

    def test_pickled_it_goes_on(self) -> None:
        whole = _bytes(self._rows(self.make(mixed())))
        study, found = study_of(self.make(mixed())), list[bytes]()
        for number in range(_TRIALS):
            if number in (1, 11):
                study.sampler = pickle.loads(pickle.dumps(study.sampler))
            found += _bytes([step(study, number)])
        assert found == whole

    def test_no_bracket_of_hyperband_repeats_what_another_tried(self) -> None:
        sampler = self.make(mixed())
        study = study_of(sampler)
        study.pruner = optuna.pruners.HyperbandPruner(max_resource=9)
        rows = []
        for _ in range(_TRIALS):
            trial = study.ask()
            rows.append(_row(sampler, trial))
            for at in range(1, 10):
                trial.report(_score(rows[-1]) + 10 / at, at)
                if trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    break
            else:
                study.tell(trial, _score(rows[-1]))
        assert any(trial.state == TrialState.PRUNED for trial in study.trials)
        assert len(set(_bytes(rows))) == _TRIALS or not sampler.goes_on

    def test_an_abandoned_trial_changes_nothing(self) -> None:
        whole = _bytes(self._rows(self.make(mixed())))
        study, found = study_of(self.make(mixed())), list[bytes]()
        for number in range(_TRIALS):
            if number % 4 == 0:
                abandon(ask(study, self._sampler(study))[0])
            found += _bytes([step(study, number)])
        assert found == whole

    def test_what_was_begun_and_given_back_comes_first_as_it_was(self) -> None:
        goes_on = self.make(mixed()).goes_on
        scored = 12 if goes_on else 0  # who proposes few policies may have none left by then
        count = self._new(scored, 4)
        assert count == 4 or not goes_on
        study = self._scored(mixed(), scored)
        begun = ask_all(study, self._sampler(study), count)
        kept = [study.trials[trial.number].user_attrs for trial, _ in begun]
        given = [at for at in range(count) if at != 1]
        for trial, _ in begun[1:2]:
            study.tell(trial, 0.0)
        for at in given:
            abandon(begun[at][0])
        study.sampler = pickle.loads(pickle.dumps(study.sampler))
        again = [*ask_all(study, study.sampler, 2), *ask_all(study, study.sampler, 2)]
        first, other = again[: len(given)], again[len(given)]
        assert [params for _, params in first] == [begun[at][1] for at in given]
        assert [trial.user_attrs for trial, _ in first] == [
            {**kept[at], AGAIN: True} for at in given
        ]
        assert other[1] not in [params for _, params in begun] or not goes_on
        assert all(value <= 0 for trial, _ in again for value in trial.constraints.values())

    def test_what_was_given_back_is_left_out_where_limits_forbid_it_by_now(self) -> None:
        projection = mixed()
        study = study_of(self.make(projection))
        trial, params = ask(study, self._sampler(study))
        abandon(trial)
        projection.tighten("macs", 0.6)
        row = step(study, 0)
        assert projection.meets(_levels(projection, row)[None])[0]
        assert (row != self._sampler(study).encoding.row(params)).any()

    def test_a_limit_that_is_tightened_holds_at_once(self) -> None:
        projection = mixed()
        plain = dict.fromkeys((f"level:{u}" for u in projection.spaces), 0)
        anchors = [plain | {"level:u0": level} for level in range(1, 5)]
        start = Start(projection=projection, seed=0, anchors=anchors)
        study = study_of(self.kind().make(start))
        step(study, 0)
        projection.tighten("macs", 0.6)
        rows = [step(study, number) for number in range(1, 6)]
        assert all(projection.meets(_levels(projection, row)[None])[0] for row in rows)
        assert len(set(_bytes(rows))) > 1, "it has given up"

    def test_failures_and_early_stops_alone_do_no_harm(self) -> None:
        for state in (TrialState.FAIL, TrialState.PRUNED):
            study, fresh = study_of(self.make(mixed())), list[bytes]()
            sampler = self._sampler(study)
            for number in range(40):
                trial, params = ask(study, sampler)
                fresh.append(sampler.encoding.row(params).tobytes())
                if state == TrialState.PRUNED:
                    trial.report(float(number % 7), 1)
                ended = state if number < 30 else TrialState.COMPLETE
                study.tell(trial, None if number < 30 else float(number), state=ended)
            assert len(set(fresh)) == 40 or not sampler.goes_on, f"after {state.name}"

    def test_trials_of_others_do_no_harm(self) -> None:
        projection = mixed()
        sampler = self.make(projection)
        study = study_of(sampler)
        some = sampler.encoding.params(sampler.encoding.random(np.random.default_rng(0), 1)[0])
        wide = {"level:u0": IntDistribution(0, 99)}
        for foreign in ({}, {"level:u0": 1}, some | {"level:u0": 99}):
            names = {n: (sampler.space | wide)[n] for n in foreign}
            study.add_trial(create_trial(params=foreign, distributions=names, value=1.0))
            study.add_trial(
                create_trial(params=foreign, distributions=names, state=TrialState.FAIL)
            )
        rows = [step(study, number, fixed=False) for number in range(_TRIALS)]
        assert all(projection.meets(_levels(projection, row)[None])[0] for row in rows)

    def test_it_works_in_any_study_in_both_directions(self) -> None:
        for direction in _DIRECTIONS:
            sampler = self.make(mixed())
            study = study_of(sampler, direction)
            study.optimize(partial(self._objective, sampler), n_trials=_TRIALS)
            rows = [sampler.encoding.row(trial.params) for trial in study.trials]
            assert sampler.projection.meets(_levels(sampler.projection, np.stack(rows))).all()
            rates = {round(trial.params["rate"], 9) for trial in study.trials}
            assert len(rates) == _TRIALS, "a parameter beside the policy is drawn anew each time"
            assert all(trial.params["rate"] != trial.params["other"] for trial in study.trials)

    def test_a_score_turned_round_is_a_score_to_maximise(self) -> None:
        found = []
        for direction, sign in zip(_DIRECTIONS, (1.0, -1.0), strict=True):
            study = study_of(self.make(mixed()), direction)
            found.append(_bytes([step(study, at, sign) for at in range(_TRIALS)]))
        assert found[0] == found[1] or self._sampler(study).needs_trial

    def _objective(self, sampler: PolicySampler, trial: Trial) -> float:
        return _score(_row(sampler, trial)) + 0 * (
            trial.suggest_float("rate", 0, 1) + trial.suggest_float("other", 0, 1)
        )

    def _rows(self, sampler: PolicySampler) -> list[Rows]:
        study = study_of(sampler)
        return [step(study, number) for number in range(_TRIALS)]

    def _scored(self, projection: Projection, trials: int) -> optuna.Study:
        """Return a study with a few scores."""
        study = study_of(self.make(projection))
        for number in range(trials):
            step(study, number)
        return study

    def _new(self, scored: int, most: int) -> int:
        """Return how many different policies are proposed at once after a few scores."""
        study = self._scored(mixed(), scored)
        asked = ask_all(study, self._sampler(study), most)
        return len({tuple(sorted(params.items())) for _, params in asked})

    def _sampler(self, study: optuna.Study) -> PolicySampler:
        assert isinstance(study.sampler, PolicySampler)
        return study.sampler


def study_of(sampler: PolicySampler, direction: Direction = "minimize") -> optuna.Study:
    """Return an empty study in memory."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler, direction=direction)
    optuna.logging.set_verbosity(before)
    return study


def step(study: optuna.Study, number: int, sign: float = 1.0, *, fixed: bool = True) -> Rows:
    """Ask, and tell a score; of ``fixed`` ones every fifth fails, every seventh is stopped."""
    sampler = study.sampler
    assert isinstance(sampler, PolicySampler)
    trial, params = ask(study, sampler)
    row = sampler.encoding.row(params)
    trial.report(sign * (_score(row) + number % 3), 1)
    if fixed and number % 5 == 4:
        study.tell(trial, state=TrialState.FAIL)
    elif fixed and number % 7 == 6:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, sign * _score(row))
    return row


def _row(sampler: PolicySampler, trial: Trial) -> Rows:
    """Return the policy of a trial, whose parameters are suggested one by one."""
    for name, one in sampler.space.items():
        trial._suggest(name, one)
    return sampler.encoding.row(trial.params)


def _score(row: Rows) -> float:
    return float((np.arange(1, len(row) + 1) * row**2).sum() % 101)


def _bytes(rows: Sequence[Rows]) -> list[bytes]:
    return [row.tobytes() for row in rows]


def _levels(projection: Projection, rows: Rows) -> Rows:
    return rows[..., : len(projection.spaces)]


def _lower(projection: Projection, row: Rows) -> list[Rows]:
    """Return the feasible rows in which one unit took back a level."""
    found = []
    for unit in np.flatnonzero(~projection.free & (_levels(projection, row) > 0)):
        less = row.copy()
        less[unit] -= 1
        if less[unit] == 0:
            less[len(projection.spaces) + unit] = 0
        if projection.meets(_levels(projection, less)[None])[0]:
            found.append(less)
    return found


def feasible(projection: Projection) -> int:
    """Return how many policies are feasible."""
    spaces = projection.spaces.values()
    grid = np.indices([space.levels for space in spaces]).reshape(len(projection.spaces), -1).T
    methods = np.array([len(space.methods) for space in spaces])
    return int(np.where(grid > 0, methods, 1).prod(axis=1)[projection.meets(grid)].sum())
