"""How qualities are written for people; every report writes them so."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

YARDSTICK = "yardstick"  # what a run keeps so that its figures can be read before its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What the figures of a run mean.

    A quality is higher where a model is better, the metric need not be: an error is minus the
    quality. People are shown the metric, and how that moved: an error that falls moves below 0.

    Args:
        metric: Name of the metric.
        higher_is_better: Whether the metric is, as it is shown.
        is_share: Whether the metric is a share, in ``[0, 1]``: shown in percent, its changes in
            points. What earlier versions wrote does not say it; there it is one that looks so.
        dense_macs: MACs of the dense model, None where they are not known.
    """

    metric: str = "quality"
    higher_is_better: bool = True
    is_share: bool = True
    dense_macs: int | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """Return what a run kept or a file says; what an earlier version lacks is by default."""
        return cls(**{one.name: kept[one.name] for one in fields(cls) if one.name in kept})

    def to_dict(self) -> dict[str, Any]:
        """Return what a run keeps, plain JSON types."""
        return asdict(self)

    def shown(self, quality: float) -> float:
        """Return the metric of a quality."""
        return (quality if self.higher_is_better else -quality) + 0.0  # never -0

    def text(self, quality: float) -> str:
        """Return the metric of a quality as it is written."""
        return metric_text(self.shown(quality), self.is_share)

    def change(self, before: float, after: float) -> str:
        """Return how far the metric moved from one quality to another, as it is written."""
        return self._moved(after - before, self.are_shares(before, after))

    def gain(self, gained: float) -> str:
        """Return how far the metric moved by a sum of gains of quality, as it is written."""
        return self._moved(gained, self.is_share)

    def are_shares(self, *qualities: float) -> bool:
        """Tell whether these are shares, so that points of them mean something."""
        return self.is_share and all(0 <= self.shown(one) <= 1 for one in qualities)

    def _moved(self, gained: float, is_share: bool) -> str:
        return change_text(in_points(self.shown(gained), is_share), is_share, sign="+")


def metric_text(value: float, is_share: bool = True) -> str:
    """Return a metric as it is written: in percent if it is a share, else as a number."""
    return f"{100 * value:.2f}%" if is_share and 0 <= value <= 1 else f"{value:.4g}"


def in_points(change: float, is_share: bool) -> float:
    """Return a change of a metric, or of quality, as people are told it.

    In points if the metric is a share, 100 x the metric; else as it is, in the metric's own unit.
    """
    return 100 * change if is_share else change


def change_text(told: float, is_share: bool, *, sign: str = "", error: float | None = None) -> str:
    """Return a change as it is written: ``+0.31 points``, ``0.31 ± 0.12 points``, ``0.02``.

    Args:
        told: What `in_points` gave.
        is_share: Whether the metric is a share.
        sign: ``+`` to write that of a rise too.
        error: Its standard error, told alike; None if nobody knows.
    """
    form = ".2f" if is_share else ".4g"
    sure = "" if error is None else f" ± {error:{form}}"
    return f"{told:{sign}{form}}{sure}{' points' if is_share else ''}"
