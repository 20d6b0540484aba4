"""What a study knows of policies."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Rows
from autoprune.core.arrays import Bools, Floats
from autoprune.predictor.prequential import Prediction

_AT_ONCE = 64  # policies that are priced together
_ENOUGH = 8  # trials that went on to the end, before early stops tell what they would have come to

Reports = Sequence[Mapping[int, float]]
GivenBack = tuple[Rows, FrozenTrial]  # a policy, and the trial that was begun with it


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
        coefficients: Those under which each policy that came to an end was allocated; empty for
            those where none were searched.
        given_back: Policies that were begun and not scored, first begun first, each with its
            trial: their process was killed, or its time was over.
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
    coefficients: Sequence[Sequence[float]] = ()
    given_back: Sequence[GivenBack] = ()

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

    def best(self, count: int) -> Rows:
        """Return the policies with the lowest scores, lowest first, ``count`` at most."""
        return self.rows[self._ranked(scored=False)[:count]]

    def leading(
        self, count: int, inside: Callable[[Rows], Bools], *, scored: bool = False
    ) -> list[int]:
        """Return the numbers of the best policies inside a budget, best first.

        Args:
            count: How many at most.
            inside: Tells which of some rows are; it is not asked for more than is needed, for
                there may be thousands.
            scored: Whether only what went on to the end is looked at.
        """
        order, found = self._ranked(scored), list[int]()
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            found += some[inside(self.rows[some])].tolist()
            if len(found) >= count:
                break
        return found[:count]

    def _ranked(self, scored: bool) -> Rows:
        """Return the numbers of what has a value, the lowest first."""
        order, values = (self._by_score, self.final) if scored else (self._by_value, self.values)
        return order[: int(np.isfinite(values).sum())]

    @cached_property
    def _by_value(self) -> Rows:
        return np.argsort(self.values, kind="stable")

    @cached_property
    def _by_score(self) -> Rows:
        return np.argsort(self.final, kind="stable")

    def first(self, count: int) -> "Known":
        """Return what was known when so many policies had come to an end."""
        stopped = [at for at in self.stopped if at < count]
        past = (self.rows[:count], self.final[:count], self.reports[:count], stopped)
        return Known(*past, self.pending[:0], self.tried)

    def joined(self, begun: Sequence[tuple[Rows, Examined | None]]) -> "Known":
        """Return what is known once some more policies are being scored.

        Args:
            begun: Each with the decision that it is an alternative to, if it is one.
        """
        rows = [row for row, _ in begun]
        found = replace(
            self,
            pending=np.concatenate([self.pending, *(row[None] for row in rows)]),
            tried=self.tried | {row.tobytes() for row in rows},
            examined=[*self.examined, *(one for _, one in begun if one is not None)],
        )
        for name in ("_expected", "_by_value", "_by_score"):
            found.__dict__[name] = getattr(self, name)  # no more ended
        return found

    def chosen(self, most: int) -> Rows:
        """Return the numbers of the best half and the latest half, ``most`` at most, in order."""
        count, half = len(self.values), most // 2
        if count <= most:
            return np.arange(count)
        return np.union1d(self._by_value[:half], np.arange(count - half, count))

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
