"""Studies as optuna-dashboard is to show them: a storage that reads and adds, and never writes."""

import copy
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.housing.described import DENSE, UNITS, is_of_measured
from autoprune.reporting.dashboard.facts import Facts
from autoprune.reporting.dashboard.names import plain
from autoprune.reporting.dashboard.read_only import ReadOnlyStorage
from autoprune.reporting.dashboard.trials import Shown
from autoprune.storage.own_trials import OwnTrials

_HIDDEN = {UNITS, DENSE}  # notes say it better
_ADDED = ("dashboard:", "artifacts:", "study:")  # what begins the names of what is added
_FRESH = 2.0  # seconds for which what is known of a study is not read again

Additions = Callable[[FrozenStudy, Shown], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a view shows.

    Args:
        studies: The studies as they are stored.
        only: Name of the study that is shown; None for all.
        name: Returns what a study is called.
        facts: Returns what is known of a study beside its trials.
        additions: Returns what optuna-dashboard keeps of a study in its system attributes:
            notes, figures, artifacts.
    """

    studies: OwnTrials
    only: str | None
    name: Callable[[FrozenStudy], str]
    facts: Callable[[FrozenStudy], Facts]
    additions: Additions


class View(ReadOnlyStorage):
    """Optuna's storage for optuna-dashboard; safe to share between threads.

    Trials have readable parameters and legacy constraints, the best trial is one inside the
    budget, and studies have notes, figures and artifacts, none of which is in the database.

    Args:
        source: What is shown.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.RLock()
        self._known: dict[int, tuple[float, FrozenStudy, Shown]] = {}
        self._added: dict[int, tuple[Shown, dict[str, Any]]] = {}

    def shown(self, study_id: int) -> Shown:
        """Return the trials of a study with what is known of it, as of some seconds ago at most.

        Raises:
            KeyError: If there is no such study.
        """
        return self._looked_at(study_id)[1]

    def _looked_at(self, study_id: int) -> tuple[FrozenStudy, Shown]:
        with self._lock:
            read_at, study, shown = self._known.get(study_id, (0.0, None, None))
            if study is None or shown is None or time.monotonic() - read_at > _FRESH:
                study = self._stored(study_id)
                shown = self._read(study, shown)
                self._known[study_id] = (time.monotonic(), study, shown)
            return study, shown

    def _read(self, study: FrozenStudy, before: Shown | None) -> Shown:
        """Return the trials of a study; the same as before where nothing has changed."""
        trials = self._source.studies.get_all_trials(study._study_id, deepcopy=False)
        now = Shown(
            facts=self._source.facts(study),
            directions=study.directions,
            trials=trials,
            before=before,
        )
        return before if before is not None and now.is_as(before) else now

    def _stored(self, study_id: int) -> FrozenStudy:
        for study in self._all():
            if study._study_id == study_id:
                return study
        raise KeyError(f"There is no study {study_id}.")

    def _all(self) -> list[FrozenStudy]:
        found = self._source.studies.get_all_studies()
        only = self._source.only
        wanted = [one for one in found if only is None or one.study_name == only]
        return sorted(wanted, key=lambda one: one._study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies, with notes, figures and artifacts."""
        return [self._shown_study(one) for one in self._all()]

    def _shown_study(self, study: FrozenStudy) -> FrozenStudy:
        return FrozenStudy(
            study_name=self._source.name(study),
            direction=None,
            directions=study.directions,
            user_attrs={
                plain(name): value
                for name, value in study.user_attrs.items()
                if name not in _HIDDEN and not is_of_measured(name)
            },
            system_attrs=self._attributes(study),
            study_id=study._study_id,
        )

    def _attributes(self, study: FrozenStudy) -> Any:
        def add() -> dict[str, Any]:
            with self._lock:
                stored, shown = self._looked_at(study._study_id)
                made_of, found = self._added.get(study._study_id, (None, {}))
                if made_of is not shown:
                    found = self._source.additions(stored, shown)
                    self._added[study._study_id] = shown, found
                return found

        return Attributes(study.system_attrs, add)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number of a study that is shown under a name."""
        for study in self._all():
            if self._source.name(study) == study_name:
                return study._study_id
        raise KeyError(f"There is no study {study_name!r}.")

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return what a study is called."""
        return self._source.name(self._stored(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the objectives of a study."""
        return self._stored(study_id).directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what a study tells."""
        return self._stored(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return notes, figures and artifacts of a study, and what is stored beside them."""
        return dict(self._attributes(self._stored(study_id)))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study under readable names."""
        shown = self.shown(study_id)
        wanted = (one for one in shown.trials if states is None or one.state in states)
        with self._lock:
            found = [shown.shown(one) for one in wanted]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial under readable names."""
        for study in self._all():
            shown = self.shown(study._study_id)
            for trial in shown.trials:
                if trial._trial_id == trial_id:
                    return shown.shown(trial)
        raise KeyError(f"There is no trial {trial_id}.")

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return what was returned, else the best inside the budget; without any the first."""
        shown = self.shown(study_id)
        known = shown.best or [one for one in shown.trials if one.state == TrialState.COMPLETE]
        if not known:
            raise ValueError("No trials are completed yet.")
        return shown.shown(known[0])

    def best_trials(self, study_id: int) -> list[FrozenTrial]:
        """Return all that are best: none where no trial is inside the budget."""
        shown = self.shown(study_id)
        return [shown.shown(one) for one in shown.best]


class Attributes(Mapping[str, Any]):
    """System attributes of a study; what is added is worked out when it is asked for.

    Optuna-dashboard reads those of all studies to list them, and needs none of ours for that.

    Args:
        stored: Those in the database.
        add: Returns the others.
    """

    def __init__(self, stored: Mapping[str, Any], add: Callable[[], dict[str, Any]]) -> None:
        self._stored, self._add = stored, add
        self._all: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        ours = key.startswith(_ADDED)
        return self._whole()[key] if ours else self._stored[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _whole(self) -> dict[str, Any]:
        if self._all is None:
            self._all = {**self._stored, **self._add()}
        return self._all
