"""Trials of a study as one process sees them: its own running ones need no reading."""

from collections.abc import Sequence
from copy import copy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial, TrialState

from autoprune.storage.quick import Ending, QuickStorage

_AT_ONCE = 250  # trials that are read: each is hundreds of rows
AGENT = "agent"  # user attribute of a trial: who scores it; all its parameters are there then


class OwnTrials(_CachedStorage):
    """Optuna's cache, which reads every running trial again whenever it is asked for trials.

    Trials that this process began with all their parameters change by its own hand only, but
    that others end them where they take this process for dead; that shows when it ends them.
    Of those that other agents began so it is only looked at whether they ended.

    Args:
        backend: What is behind it.
    """

    def __init__(self, backend: QuickStorage) -> None:
        super().__init__(backend)
        self._quick = backend
        self._own: set[int] = set()  # running
        self._latest: dict[int, int] = {}  # by study, up to which trial all were looked at

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "_own": set()}

    def begin(self, study_id: int, templates: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Begin trials that run; see `QuickStorage.begin`."""
        found = self._quick.begin(study_id, templates)
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            self._add_trials_to_cache(study_id, found)
            self._own |= {trial._trial_id for trial in found}
            study.unfinished_trial_ids |= {trial._trial_id for trial in found}
        return found

    def end(self, endings: Sequence[Ending]) -> None:
        """End trials that run; those that others ended stay as they are."""
        ended, when = self._quick.end(endings)
        with self._lock:
            for one in endings:
                if one.trial_id in ended and one.trial_id in self._own:
                    trial = copy(self._cached(one.trial_id))
                    trial.intermediate_values = {**trial.intermediate_values, **one.reports}
                    trial.user_attrs = {**trial.user_attrs, **one.attributes}
                    trial.values = [float(value) for value in one.values] or None
                    trial.state, trial.datetime_complete = one.state, when
                    self._replace(trial)
                    self._info(one.trial_id).unfinished_trial_ids.discard(one.trial_id)
                self._own.discard(one.trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; our own ones are not read."""
        with self._lock:
            if trial_id in self._own:
                return self._cached(trial_id)
        return super().get_trial(trial_id)

    def set_trial_param(
        self, trial_id: int, param_name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Store a parameter of a trial."""
        self._disown(trial_id)
        super().set_trial_param(trial_id, param_name, value, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Store how a trial ended."""
        self._disown(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, value: float) -> None:
        """Store a report of a trial."""
        self._disown(trial_id)
        super().set_trial_intermediate_value(trial_id, step, value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a user attribute of a trial."""
        self._disown(trial_id)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a system attribute of a trial."""
        self._disown(trial_id)
        super().set_trial_system_attr(trial_id, key, value)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """Take in new trials, and what became of running ones that are not our own."""
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            latest = self._latest.get(study_id, -1)
            new = self._quick.numbers(study_id, latest)
            others = study.unfinished_trial_ids - self._own
            whole = {one for one in others if AGENT in self._cached(one).user_attrs}
            wanted = (others - whole) | self._quick.ended(whole) | (set(new) - self._own)
            latest = new[-1] if new else latest
            ids = sorted(wanted)
            for lot in (ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)):
                trials = self._quick.read(lot)
                self._add_trials_to_cache(study_id, trials)
                finished = {trial._trial_id for trial in trials if trial.state.is_finished()}
                study.unfinished_trial_ids |= {trial._trial_id for trial in trials} - finished
                study.unfinished_trial_ids -= finished
            self._latest[study_id] = latest  # not before: reading may be cut, and is done again

    def _disown(self, trial_id: int) -> None:
        """Read a trial from now on: it is changed piece by piece."""
        with self._lock:
            self._own.discard(trial_id)

    def _cached(self, trial_id: int) -> FrozenTrial:
        _, number = self._trial_id_to_study_id_and_number[trial_id]
        return self._info(trial_id).trials[number]

    def _replace(self, trial: FrozenTrial) -> None:
        self._info(trial._trial_id).trials[trial.number] = trial

    def _info(self, trial_id: int) -> _StudyInfo:
        study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
        return self._studies[study_id]
