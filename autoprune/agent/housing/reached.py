"""How far a run got: the quality and the MACs of what is best so far."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.storage.database import Database
from autoprune.storage.ended import best_ended
from autoprune.storage.records import Run


@dataclass(frozen=True, slots=True)
class Reached:
    """What is best so far; None for what is not known.

    Args:
        quality: The metric on the search split, as it is shown.
        macs_share: MACs as a share of the dense model's.
        is_share: Whether the metric is a share, shown in percent.
    """

    quality: float | None = None
    macs_share: float | None = None
    is_share: bool = True

    def __bool__(self) -> bool:
        return self.quality is not None

    @classmethod
    def told(cls, status: Mapping[str, Any]) -> "Reached":
        """Return what a run told of its progress."""
        return cls(
            status.get("best_quality"), status.get("feasible_macs"), status.get("is_share", True)
        )

    @classmethod
    def of_result(cls, content: Mapping[str, Any]) -> "Reached":
        """Return what is in ``result.json``; nothing if that is of something else."""
        with suppress(KeyError, TypeError, ZeroDivisionError):
            pruned, dense = content["pruned"], content["dense"]
            yardstick = Yardstick.of(content)
            quality = yardstick.shown(pruned["quality_search"])
            return cls(quality, pruned["macs"] / dense["macs"], yardstick.is_share)
        return cls()

    @classmethod
    def of_trials(cls, database: Database, run: Run) -> "Reached":
        """Return what the trials of a run say: the best score inside the limits.

        Nothing, where the best score is not what the run looks for: the smallest model
        (``tolerance``) or a front.
        """
        kept = run.kept.get(YARDSTICK)
        if kept is None or not has_one_budget(run.config):
            return cls()
        best = best_ended(database, run.name)
        if best is None:
            return cls()
        quality, costs = best.user_attrs.get("quality"), best.user_attrs.get("costs") or {}
        if quality is None or "macs" not in costs:
            return cls()
        yardstick = Yardstick.of(kept)
        if not yardstick.dense_macs:
            return cls()
        share = costs["macs"] / yardstick.dense_macs
        return cls(yardstick.shown(quality), share, yardstick.is_share)


def has_one_budget(settings: Mapping[str, Any]) -> bool:
    """Tell whether a run was asked for one model inside one budget, by its settings."""
    return not settings.get("pareto") and not settings.get("tolerance")
