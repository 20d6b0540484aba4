"""How good predictions were that were made before what they predict was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

_LEAST = 3  # ranks of fewer tell nothing


@dataclass(frozen=True)
class Prediction:
    """A prediction, and what came of it.

    Args:
        expected: The score that was expected.
        low: Lower end of the 90% interval.
        high: Upper end.
        score: The score that was measured.
    """

    expected: float
    low: float
    high: float
    score: float


@dataclass(frozen=True)
class Reliability:
    """What predictions were worth (Dawid 1984 on prequential validation).

    Args:
        count: How many there were.
        spearman: Rank correlation of expected and measured scores; None if it says nothing.
        coverage: Share of scores inside their 90% interval; None if there were no predictions.
    """

    count: int
    spearman: float | None
    coverage: float | None

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Reliability":
        """Judge predictions, in any order."""
        if not predictions:
            return cls(0, None, None)
        expected, low, high, score = np.array(
            [(p.expected, p.low, p.high, p.score) for p in predictions]
        ).T
        coverage = float(np.mean((low <= score) & (score <= high)))
        tells = len(score) >= _LEAST and np.ptp(expected) > 0 and np.ptp(score) > 0
        rank = float(spearmanr(expected, score).statistic) if tells else None
        return cls(len(score), rank, coverage)
