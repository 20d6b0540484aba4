"""What a row of times says: a median, its interval, and whether the machine was calm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

# Calm machines stay below 0.1; a core shared with another process gives 0.3 and more.
BUSY_SPREAD = 0.15
_MISSED = 0.05  # of all intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A median of numbers that were observed one after the other.

    Args:
        median: The median.
        low: Lower end of its 95% interval, from order statistics: no distribution is assumed.
        high: Upper end of it.
        spread: Distance of the quartiles, as a share of the median.
        busy: Whether the spread is above `BUSY_SPREAD`. The machine did something else then, and
            in bursts: the numbers do not fall independently, so the interval reaches over both
            quartiles at least.
    """

    median: float
    low: float
    high: float
    spread: float
    busy: bool

    @property
    def precision(self) -> float:
        """Half the width of the interval, as a share of the median."""
        return (self.high - self.low) / 2 / self.median


def summary(values: Sequence[float]) -> Summary:
    """Return the summary of at least one number above zero.

    Fewer than 6 numbers have no 95% interval; theirs is from the smallest to the largest.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    first, median, third = np.quantile(ordered, [0.25, 0.5, 0.75])
    rank = int(binom.ppf(_MISSED / 2, len(ordered), 0.5))
    low, high = ordered[max(rank - 1, 0)], ordered[min(len(ordered) - rank, len(ordered) - 1)]
    spread = float((third - first) / median)
    busy = spread > BUSY_SPREAD
    return Summary(
        median=float(median),
        low=float(min(low, first) if busy else low),
        high=float(max(high, third) if busy else high),
        spread=spread,
        busy=busy,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a forward takes.

    Args:
        seconds: Median of one forward.
        low: Lower end of its 95% interval, in seconds; see `Summary`.
        high: Upper end of it, in seconds.
        repeats: Times that went into it; a short forward is run many times for each.
        spread: Distance of the quartiles, as a share of the median.
        busy: Whether the machine was busy, so that the interval is wide.
    """

    seconds: float
    low: float
    high: float
    repeats: int
    spread: float
    busy: bool

    @classmethod
    def of(cls, times: Sequence[float]) -> "Timing":
        """Return what ``times``, in seconds of one forward each, say."""
        found = summary(times)
        return cls(
            seconds=found.median,
            low=found.low,
            high=found.high,
            repeats=len(times),
            spread=found.spread,
            busy=found.busy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a pruned model's latency compares with the dense one's.

    Args:
        ratio: Median over pairs of pruned by dense; below 1 is faster.
        low: Lower end of its 95% interval; see `Summary`.
        high: Upper end of it.
        pairs: Pairs that went into it.
        spread: Distance of the quartiles of the ratios, as a share of the median.
        busy: Whether the machine was busy: by the ratios, which bear what slows both alike.
        dense: Timing of the dense model alone.
        pruned: Timing of the pruned model alone.
    """

    ratio: float
    low: float
    high: float
    pairs: int
    spread: float
    busy: bool
    dense: Timing
    pruned: Timing

    @classmethod
    def of(cls, dense: Sequence[float], pruned: Sequence[float]) -> "Comparison":
        """Return what times say that were taken in pairs, in seconds of one forward each."""
        found = summary([two / one for one, two in zip(dense, pruned, strict=True)])
        return cls(
            ratio=found.median,
            low=found.low,
            high=found.high,
            pairs=len(dense),
            spread=found.spread,
            busy=found.busy,
            dense=Timing.of(dense),
            pruned=Timing.of(pruned),
        )

    def scaled(self, dense_s: float) -> Timing:
        """Return the timing of the pruned model if a dense forward takes ``dense_s`` seconds."""
        return Timing(
            seconds=self.ratio * dense_s,
            low=self.low * dense_s,
            high=self.high * dense_s,
            repeats=self.pairs,
            spread=self.spread,
            busy=self.busy,
        )

    @property
    def dense_s(self) -> float:
        """Median of one dense forward, in seconds."""
        return self.dense.seconds

    @property
    def pruned_s(self) -> float:
        """Median of one pruned forward, in seconds."""
        return self.pruned.seconds
