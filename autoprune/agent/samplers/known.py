"""What a study knows of policies, read once however often it is asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.encoding import Encoding, Floats, Rows
from autoprune.predictor.prequential import Prediction
from autoprune.storage.study import ABANDONED, reported

ENDED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
CLAIM = "autoprune:policy"  # system attribute: the row that a trial was given
PREDICTED = "predicted"  # user attribute of a trial: what was expected of it
EXAMINES = "examines"  # user attribute of a trial: the decision it has an alternative to
REGRET = "regret"  # user attribute of such a trial: what came of it
_EXPECTED = {"expected", "low", "high"}
_ENOUGH = 8  # trials that went on to the end, before early stops tell what they would have come to


Reports = Sequence[Mapping[int, float]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Examined:
    """A decision to which an alternative was scored, or is being scored.

    Args:
        row: The policy that made it.
        units: Numbers of the units it is about.
        reverted: Whether the alternative was found to be better.
    """

    row: Rows
    units: tuple[int, ...]
    reverted: bool


@dataclass(frozen=True)
class Known:
    """Policies that came to an end, oldest first, and those that others score at this moment.

    Args:
        rows: Policies, ``policies x columns``, as of an `Encoding`.
        final: Scores of those that went on to the end, lower is better; NaN for the others.
        reports: What those that were stopped early and those that were scored told on the way,
            lower is better, by stage.
        stopped: Numbers of those that were stopped early.
        pending: Policies being scored, ``policies x columns``.
        tried: Both as bytes: what need not be proposed any more.
        predictions: What was expected of those that were scored to the end, if anything was.
        asked: How many others ask at this moment, before the trial that is asked for.
        examined: Decisions to which an alternative was proposed.
    """

    rows: Rows
    final: Floats
    reports: Reports
    stopped: Sequence[int]
    pending: Rows
    tried: set[bytes]
    predictions: Sequence[Prediction] = ()
    asked: int = 0
    examined: Sequence[Examined] = ()

    @property
    def started(self) -> int:
        """How many policies were begun before the one that is asked for."""
        return len(self.rows) + len(self.pending) + self.asked

    @property
    def values(self) -> Floats:
        """Scores, lower is better; NaN where scoring failed.

        What was stopped early counts by what it would have come to.
        """
        return self._expected[0]

    @property
    def noise(self) -> Floats:
        """Standard deviation of a score beyond that of all: early stops tell less."""
        return self._expected[1]

    def best(self, count: int, among: Bools | None = None) -> Rows:
        """Return the policies with the lowest scores, lowest first.

        Args:
            count: How many at most.
            among: Which policies are looked at; None for all.
        """
        values = self.values if among is None else np.where(among, self.values, np.nan)
        fine = int(np.isfinite(values).sum())
        return self.rows[np.argsort(values, kind="stable")[: min(count, fine)]]

    def first(self, count: int) -> "Known":
        """Return what was known when so many policies had come to an end."""
        stopped = [at for at in self.stopped if at < count]
        past = (self.rows[:count], self.final[:count], self.reports[:count], stopped)
        return Known(*past, self.pending[:0], self.tried)

    def chosen(self, most: int) -> Rows:
        """Return the numbers of the best half and the latest half, ``most`` at most, in order."""
        count, half = len(self.values), most // 2
        if count <= most:
            return np.arange(count)
        best = np.argsort(self.values, kind="stable")[:half]
        return np.union1d(best, np.arange(count - half, count))

    @cached_property
    def _expected(self) -> tuple[Floats, Floats]:
        values, noise = self.final.copy(), np.zeros(len(self.final))
        lines: dict[int, tuple[float, float, float] | None] = {}
        for at in self.stopped:
            stage = max(self.reports[at])
            if stage not in lines:
                lines[stage] = self._line(stage)
            if (line := lines[stage]) is not None:
                slope, start, noise[at] = line
                values[at] = slope * self.reports[at][stage] + start
        return values, noise

    def _line(self, stage: int) -> tuple[float, float, float] | None:
        """Return slope and start of final scores over those of a stage, and their spread."""
        pairs = [
            (told[stage], final)
            for told, final in zip(self.reports, self.final.tolist(), strict=True)
            if stage in told and final == final and math.isfinite(told[stage])
        ]
        if len(pairs) < _ENOUGH:
            return None
        early, late = np.array(pairs).T
        slope, start = np.polyfit(early, late, 1) if early.std() > 0 else (0.0, late.mean())
        return float(slope), float(start), float(np.std(late - slope * early - start))


@dataclass
class History:
    """Reads the trials of one study; those that ended are read once.

    Args:
        encoding: The form of rows.
    """

    encoding: Encoding
    _study: Study | None = None
    _seen: set[int] = field(default_factory=set)
    _order: list[tuple[datetime, int]] = field(default_factory=list)
    _rows: Rows = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    _final: list[float] = field(default_factory=list)
    _reports: list[Mapping[int, float]] = field(default_factory=list)
    _stopped: list[int] = field(default_factory=list)
    _predictions: list[Prediction] = field(default_factory=list)
    _done: list[Examined] = field(default_factory=list)
    _bytes: set[bytes] = field(default_factory=set)

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
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen:
                continue
            if trial.state == TrialState.RUNNING:
                row = self._given(trial)
                if row is not None:
                    pending.append(row)
                    examining += self._examined([trial])
                asked += row is None and trial.number < asking
            elif trial.state in ENDED:
                self._seen.add(trial.number)
                if self._is_policy(trial):
                    fresh.append(trial)
        fresh.sort(key=_when)
        if fresh and self._order and _when(fresh[0]) < self._order[-1]:
            self._forget(study)  # another process ended one that was not read in time
            return self.read(study, asking)
        self._add(study, fresh)
        told = (self._rows, np.array(self._final), self._reports[:], self._stopped[:])
        tried = self._bytes | {row.tobytes() for row in pending}
        examined = [*self._done, *examining]
        return Known(*told, self._stack(pending), tried, self._predictions[:], asked, examined)

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
            self._order.append(_when(trial))
        self._done += self._examined(trials)
        self._rows = np.concatenate([self._rows, rows])
        self._bytes.update(row.tobytes() for row in rows)

    def _forget(self, study: Study) -> None:
        self._study, self._rows = study, self._stack([])
        self._seen, self._bytes = set(), set()
        self._order, self._final, self._reports, self._stopped = [], [], [], []
        self._predictions, self._done = [], []

    def _examined(self, trials: Sequence[FrozenTrial]) -> list[Examined]:
        found = (examined_by(trial.user_attrs, self.encoding) for trial in trials)
        return [one for one in found if one is not None]

    def _given(self, trial: FrozenTrial) -> Rows | None:
        """Return the policy that a running trial scores, None if it has none yet.

        Optuna stores parameters one by one, as they are suggested; a claim is there at once.
        """
        if self._is_policy(trial):
            return self.encoding.row(trial.params)
        claimed = np.array(trial.system_attrs.get(CLAIM, ()), np.int64)
        return claimed if self.encoding.has(claimed) else None

    def _is_policy(self, trial: FrozenTrial) -> bool:
        known = self.encoding.holds(trial.params)
        return known and trial.user_attrs.get("outcome") != ABANDONED

    def _stack(self, rows: list[Rows]) -> Rows:
        return np.stack(rows) if rows else np.zeros((0, 2 * self.encoding.units), np.int64)


def prediction_of(trial: FrozenTrial, score: float) -> Prediction | None:
    """Return what was expected of a trial, with its score; None without either."""
    said = trial.user_attrs.get(PREDICTED)
    if not isinstance(said, dict) or said.keys() != _EXPECTED or math.isnan(score):
        return None  # users may call an attribute of theirs the same
    return Prediction(**said, score=score)


def examined_by(attributes: Mapping[str, Any], encoding: Encoding) -> Examined | None:
    """Return the decision that a trial has an alternative to, by its user attributes."""
    said, came = attributes.get(EXAMINES), attributes.get(REGRET)
    if not isinstance(said, dict) or said.keys() != {"row", "units"}:
        return None  # users may call an attribute of theirs the same
    if not all(
        isinstance(one, list) and all(type(n) is int for n in one) for one in said.values()
    ):
        return None
    row, units = np.array(said["row"], np.int64), tuple(said["units"])
    known = encoding.has(row) and all(0 <= unit < encoding.units for unit in units)
    reverted = isinstance(came, dict) and bool(came.get("reverted"))
    return Examined(row, units, reverted) if known else None


def claim(study: Study, trial: FrozenTrial, row: Rows) -> None:
    """Tell other processes what a trial is going to score, in one transaction."""
    study._storage.set_trial_system_attr(trial._trial_id, CLAIM, row.tolist())


def _when(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.min, trial.number
