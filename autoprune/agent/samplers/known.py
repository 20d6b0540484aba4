"""What a study knows of policies, read once however often it is asked for."""

from dataclasses import dataclass, field

import numpy as np
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.encoding import Encoding, Floats, Rows
from autoprune.storage.study import ABANDONED

ENDED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
_ENOUGH = 8  # trials that went on to the end, before early stops tell what they would have come to


@dataclass(frozen=True)
class Known:
    """Policies that were scored, oldest first, and those that others score at this moment.

    Args:
        rows: Policies, ``policies x columns``, as of an `Encoding`.
        values: Their scores, lower is better; NaN where scoring failed.
        noise: Standard deviation of a score beyond that of all: early stops tell less.
        pending: Policies being scored, ``policies x columns``.
    """

    rows: Rows
    values: Floats
    noise: Floats
    pending: Rows

    @property
    def tried(self) -> set[bytes]:
        """What need not be proposed any more."""
        return {row.tobytes() for row in (*self.rows, *self.pending)}

    def best(self, count: int) -> Rows:
        """Return the policies with the lowest scores, lowest first."""
        fine = int(np.isfinite(self.values).sum())
        return self.rows[np.argsort(self.values, kind="stable")[: min(count, fine)]]

    def first(self, count: int) -> "Known":
        """Return what was known when so many policies were scored."""
        return Known(self.rows[:count], self.values[:count], self.noise[:count], self.pending[:0])

    def chosen(self, most: int) -> Rows:
        """Return the numbers of the best half and the latest half, ``most`` at most, in order."""
        count, half = len(self.values), most // 2
        if count <= most:
            return np.arange(count)
        best = np.argsort(self.values, kind="stable")[:half]
        return np.union1d(best, np.arange(count - half, count))


@dataclass
class History:
    """Reads the trials of one study; those that ended are read once.

    Args:
        encoding: The form of rows.
    """

    encoding: Encoding
    _study: Study | None = None
    _ended: dict[int, FrozenTrial] = field(default_factory=dict)
    _rows: dict[int, Rows] = field(default_factory=dict)

    def read(self, study: Study) -> Known:
        """Return what the study knows now."""
        if self._study is not study:
            self._study, self._ended, self._rows = study, {}, {}
        pending = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._ended or not self._is_policy(trial):
                continue
            if trial.state == TrialState.RUNNING:
                pending.append(self.encoding.row(trial.params))
            elif trial.state in ENDED:
                self._ended[trial.number] = trial
                self._rows[trial.number] = self.encoding.row(trial.params)
        numbers = sorted(self._ended)
        values, noise = _values(study, [self._ended[number] for number in numbers])
        return Known(
            self._stack([self._rows[number] for number in numbers]),
            *(values, noise, self._stack(pending)),
        )

    def _is_policy(self, trial: FrozenTrial) -> bool:
        known = all(f"level:{unit}" in trial.params for unit in self.encoding.spaces)
        return known and trial.user_attrs.get("outcome") != ABANDONED

    def _stack(self, rows: list[Rows]) -> Rows:
        return np.stack(rows) if rows else np.zeros((0, 2 * self.encoding.units), np.int64)


def _values(study: Study, trials: list[FrozenTrial]) -> tuple[Floats, Floats]:
    """Return scores to minimise, and how uncertain they are because of early stops."""
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    values, noise = np.full(len(trials), np.nan), np.zeros(len(trials))
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for at, trial in enumerate(trials):
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            values[at] = sign * trial.value
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            values[at], noise[at] = _expected(trial, done, sign)
    return values, noise


def _expected(trial: FrozenTrial, done: list[FrozenTrial], sign: float) -> tuple[float, float]:
    """Return what a trial that was stopped early would have come to, and how sure that is.

    A line through the trials that went on: their final score over that of the same stage.
    """
    stage = max(trial.intermediate_values)
    reached = sign * trial.intermediate_values[stage]
    pairs = [
        (sign * t.intermediate_values[stage], sign * t.value)
        for t in done
        if stage in t.intermediate_values and t.value is not None
    ]
    if len(pairs) < _ENOUGH:
        return np.nan, 0.0
    early, late = np.array(pairs).T
    slope, start = np.polyfit(early, late, 1) if early.std() > 0 else (1.0, 0.0)
    spread = float(np.std(late - slope * early - start))
    return float(slope * reached + start), spread
