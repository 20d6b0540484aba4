"""The trials of a study, read once however often a sampler is asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.samplers.attributes import (
    coefficients_of,
    examined_by,
    place_of,
    prediction_of,
)
from autoprune.agent.samplers.claims import claimed
from autoprune.agent.samplers.known import Examined, GivenBack, Known
from autoprune.predictor.prequential import Prediction
from autoprune.storage.study_trials import ABANDONED, reported

ENDED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)


@dataclass
class History:
    """Reads the trials of one study; those that ended are read once.

    Args:
        encoding: The form of rows.
    """

    encoding: Encoding
    _study: Study | None = None
    _seen: set[int] = field(default_factory=set)
    _settled: int = 0  # all trials before this number were seen
    _order: list[tuple[int, datetime, int]] = field(default_factory=list)
    _rows: Rows = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    _final: list[float] = field(default_factory=list)
    _reports: list[Mapping[int, float]] = field(default_factory=list)
    _stopped: list[int] = field(default_factory=list)
    _predictions: list[Prediction] = field(default_factory=list)
    _coefficients: list[tuple[float, ...]] = field(default_factory=list)
    _done: list[Examined] = field(default_factory=list)
    _bytes: set[bytes] = field(default_factory=set)
    _running: dict[int, Rows] = field(default_factory=dict)  # by trial, once all is suggested
    _given_back: dict[bytes, GivenBack] = field(default_factory=dict)  # first begun first

    def read(self, study: Study, asking: int = 0) -> Known:
        """Return what the study knows now.

        Trials are in the order in which they came to an end, which no later one changes.

        Args:
            study: The study, or the part of it that Hyperband lets a sampler see: all is read.
            asking: Number of the trial that a policy is asked for; 0 if it has not begun.
        """
        study = getattr(study, "_study", study)
        if self._study is not study:
            self._forget(study)
        pending, fresh, asked = [], [], 0
        examining: list[Examined] = []
        for trial in self._unseen(study):
            if trial.state == TrialState.RUNNING:
                row = self._given(trial)
                if row is not None:
                    pending.append(row)
                    examining += self._examined([trial])
                asked += row is None and trial.number < asking
            elif trial.state in ENDED:
                self._seen.add(trial.number)
                self._running.pop(trial.number, None)
                if self._is_policy(trial):
                    fresh.append(trial)
                elif self.encoding.holds(trial.params):
                    row = self.encoding.row(trial.params)
                    self._given_back[row.tobytes()] = row, trial
        fresh.sort(key=when_ended)
        if fresh and self._order and when_ended(fresh[0]) < self._order[-1]:
            self._forget(study)  # another process ended one that was not read in time
            return self.read(study, asking)
        self._add(study, fresh)
        told = (self._rows, np.array(self._final), self._reports[:], self._stopped[:])
        tried = self._bytes | {row.tobytes() for row in pending}
        examined = [*self._done, *examining]
        return Known(
            *told,
            pending=self._stack(pending),
            tried=tried,
            predictions=self._predictions[:],
            asked=asked,
            examined=examined,
            coefficients=self._coefficients[:],
            given_back=[one for row, one in self._given_back.items() if row not in tried],
        )

    def _unseen(self, study: Study) -> list[FrozenTrial]:
        """Return the trials that were not over when they were read last, by number."""
        trials = study.get_trials(deepcopy=False)  # all, by number, from 0 on
        while self._settled in self._seen:
            self._settled += 1
        return [trial for trial in trials[self._settled :] if trial.number not in self._seen]

    def _add(self, study: Study, trials: list[FrozenTrial]) -> None:
        if not trials:
            return
        sign = -1.0 if study.directions[0] == StudyDirection.MAXIMIZE else 1.0
        rows = self._stack([self.encoding.row(trial.params) for trial in trials])
        for trial in trials:
            told = {at: sign * value for at, value in reported(study, trial).items()}
            if trial.state == TrialState.PRUNED and told and math.isfinite(told[max(told)]):
                self._stopped.append(len(self._order))
            scored = trial.state == TrialState.COMPLETE and trial.values is not None
            value = sign * trial.values[0] if scored else math.nan
            self._final.append(value if math.isfinite(value) else math.nan)
            self._reports.append(told)
            if (made := prediction_of(trial, self._final[-1])) is not None:
                self._predictions.append(made)
            self._coefficients.append(coefficients_of(trial))
            self._order.append(when_ended(trial))
        self._done += self._examined(trials)
        self._rows = np.concatenate([self._rows, rows])
        self._bytes.update(row.tobytes() for row in rows)
        for row in rows:
            self._given_back.pop(row.tobytes(), None)

    def _forget(self, study: Study) -> None:
        self._study, self._rows = study, self._stack([])
        self._seen, self._settled, self._bytes, self._running = set(), 0, set(), {}
        self._order, self._final, self._reports, self._stopped = [], [], [], []
        self._predictions, self._done, self._given_back = [], [], {}
        self._coefficients = []

    def _examined(self, trials: Sequence[FrozenTrial]) -> list[Examined]:
        found = (examined_by(trial.user_attrs, self.encoding) for trial in trials)
        return [one for one in found if one is not None]

    def _given(self, trial: FrozenTrial) -> Rows | None:
        """Return the policy that a running trial scores, None if it has none yet.

        Optuna stores parameters one by one, as they are suggested; a claim is there at once.
        """
        if trial.number in self._running:
            return self._running[trial.number]
        if self._is_policy(trial):
            return self._running.setdefault(trial.number, self.encoding.row(trial.params))
        row = claimed(trial)
        return row if self.encoding.has(row) else None

    def _is_policy(self, trial: FrozenTrial) -> bool:
        known = self.encoding.holds(trial.params)
        return known and trial.user_attrs.get("outcome") != ABANDONED

    def _stack(self, rows: list[Rows]) -> Rows:
        return np.stack(rows) if rows else np.zeros((0, 2 * self.encoding.units), np.int64)


def when_ended(trial: FrozenTrial) -> tuple[int, datetime, int]:
    """Return what orders trials by their end: their places; clocks, which jump, without those."""
    return place_of(trial), trial.datetime_complete or datetime.min, trial.number
