"""How far a run got: the quality and the MACs of what is best so far."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from autoprune.storage.database import Database
from autoprune.storage.ended import best_ended
from autoprune.storage.records import Run

YARDSTICK = "yardstick"  # what a run keeps so that its figures can be read


def yardstick(dense_macs: int, higher_is_better: bool) -> dict[str, Any]:
    """Return what tells those who only look at a run how to read its figures.

    Args:
        dense_macs: MACs of the dense model.
        higher_is_better: Whether the metric is, as it is shown.
    """
    return {"dense_macs": dense_macs, "higher_is_better": higher_is_better}


@dataclass(frozen=True, slots=True)
class Reached:
    """What is best so far; None for what is not known.

    Args:
        quality: The metric on the search split, as it is shown.
        macs_share: MACs as a share of the dense model's.
    """

    quality: float | None = None
    macs_share: float | None = None

    def __bool__(self) -> bool:
        return self.quality is not None

    @classmethod
    def told(cls, status: Mapping[str, Any]) -> "Reached":
        """Return what a run told of its progress."""
        return cls(status.get("best_quality"), status.get("feasible_macs"))

    @classmethod
    def of_result(cls, content: Mapping[str, Any]) -> "Reached":
        """Return what is in ``result.json``; nothing if that is of something else."""
        with suppress(KeyError, TypeError, ZeroDivisionError):
            pruned, dense = content["pruned"], content["dense"]
            sign = 1 if content.get("higher_is_better", True) else -1
            return cls(sign * pruned["quality_search"], pruned["macs"] / dense["macs"])
        return cls()

    @classmethod
    def of_trials(cls, database: Database, run: Run) -> "Reached":
        """Return what the trials of a run say: the best score inside the limits.

        Nothing, where the best score is not what the run looks for: the smallest model
        (``tolerance``) or a front.
        """
        kept = run.kept.get(YARDSTICK)
        if kept is None or run.config.get("tolerance") or run.config.get("pareto"):
            return cls()
        best = best_ended(database, run.name)
        if best is None:
            return cls()
        quality, costs = best.user_attrs.get("quality"), best.user_attrs.get("costs") or {}
        if quality is None or "macs" not in costs:
            return cls()
        sign = 1 if kept["higher_is_better"] else -1
        return cls(sign * quality, costs["macs"] / kept["dense_macs"])
