"""How a search stands, counted as evaluations come to their end."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from autoprune.agent.evaluating.outcomes import FAILED, is_stopped, was_free
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.attributes import (
    EXAMINES,
    PREDICTED,
    SCREENING,
    expected_of,
    was_reverted,
)
from autoprune.agent.samplers.proposal import PREQUENTIAL
from autoprune.core.policy import Policy
from autoprune.core.progress import Ended, SearchState
from autoprune.predictor.prequential import Reliability
from autoprune.storage.records import Evaluation
from autoprune.tasks.base import Task, shown


@dataclass
class Tally:
    """Counts what ended; each evaluation once, however many there are by then."""

    _counts: dict[str, int] = field(default_factory=dict)
    _record: Reliability = field(default_factory=lambda: Reliability(0, None, None))
    _decides: bool = False
    _policies: dict[str, Policy] = field(default_factory=dict)  # by fingerprint, as they ended
    _projection: Projection | None = None
    _tightened: dict[str, float] = field(default_factory=dict)
    _inside: int = 0
    _looked: int = 0  # policies that were compared with the aim
    _fresh: list[tuple[int, Evaluation, Mapping[str, Any]]] = field(default_factory=list)

    def add(self, number: int, found: Evaluation, attributes: Mapping[str, Any]) -> None:
        """Count an evaluation, unless one of the same policy was.

        Args:
            number: Number of its trial.
            found: The evaluation.
            attributes: User attributes of its trial.
        """
        if found.policy.fingerprint in self._policies:
            return
        reverted = was_reverted(attributes)
        counted = {
            "stopped": is_stopped(found),
            "failed": found.outcome.startswith(FAILED),
            "reused": was_free(found),
            "examined": reverted is not None,
            "reverted": bool(reverted),
        }
        for name, counts in counted.items():
            self._counts[name] = self._counts.get(name, 0) + counts
        with suppress(KeyError, TypeError):  # users may call an attribute of theirs the same
            self._record = Reliability(**attributes[PREQUENTIAL])
        if PREDICTED in attributes and EXAMINES not in attributes:  # alternatives are not screened
            self._decides = SCREENING in attributes
        self._policies[found.policy.fingerprint] = found.policy
        self._fresh.append((number, found, attributes))

    def state(
        self, projection: Projection, working: int = 0, lost: Sequence[str] = ()
    ) -> SearchState:
        """Return how the search stands.

        Args:
            projection: What it aims at.
            working: Policies that are being scored.
            lost: How workers that were lost came to their end.
        """
        if self._projection is not projection or self._tightened != projection.tightened:
            self._projection, self._tightened = projection, dict(projection.tightened)
            self._inside = self._looked = 0
        fresh = islice(self._policies.values(), self._looked, None)
        self._inside += sum(map(projection.aims_at, fresh))
        self._looked = len(self._policies)
        return SearchState(
            working=working,
            lost=len(lost),
            why_lost=lost[-1] if lost else "",
            inside=self._inside,
            predictions=self._record.count,
            rank_correlation=self._record.told_rank,
            coverage=None if self._record.told_rank is None else self._record.coverage,
            decides=self._decides,
            **self._counts,
        )

    def fresh(self, task: Task) -> tuple[Ended, ...]:
        """Return what ended since this was asked last.

        Args:
            task: Tells how its metric is shown.
        """
        fresh, self._fresh = self._fresh, []
        return tuple(_ended(task, *one) for one in fresh)


def _ended(task: Task, number: int, found: Evaluation, attributes: Mapping[str, Any]) -> Ended:
    return Ended(
        number=number,
        source=str(attributes.get("source", "")),
        outcome=found.outcome,
        quality=shown(task, found.quality),
        score=found.score,
        expected=expected_of(attributes),
        seconds=found.seconds,
    )
