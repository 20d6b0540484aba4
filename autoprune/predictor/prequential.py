"""How good predictions were that were made before what they predict was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, spearmanr

COVERAGE = 0.9  # of intervals
CONFIDENCE = 0.95  # of the bound on what is spared wrongly
GATE = 0.3  # rank correlation of predictions, below which they decide nothing
ENOUGH = 8  # predictions, before their rank correlation tells anything
_STEP = 0.15  # by which the logarithm of a width follows a miss
_WIDEST = 2.0  # logarithm: a predictor this wrong rules nothing out anyway
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

    @property
    def told_rank(self) -> float | None:
        """The rank correlation; None if there were too few predictions to tell, too."""
        return self.spearman if self.count >= ENOUGH else None

    @property
    def width(self) -> float:
        """Factor by which the next interval is widened, or narrowed, so that coverage is kept.

        Each score outside its interval widens those to come, each one inside narrows them a
        little: over many predictions nine in ten hold, whatever the predictor assumed (adaptive
        conformal inference, Gibbs and Candes 2021, arXiv:2106.00170; of widths, not of levels).
        """
        missed = 0.0 if self.coverage is None else self.count * (COVERAGE - self.coverage)
        return math.exp(min(_STEP * missed, _WIDEST))

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


@dataclass(frozen=True)
class Screening:
    """What screening candidates by their predictions did for one proposal.

    Args:
        incumbent: The best score inside the budget when it was made; None if there was none.
        spared: Candidates that were passed over as unable to beat it: no evaluation was spent.
        audit: Whether the proposal was drawn without regard to what is predicted.
    """

    incumbent: float | None
    spared: int
    audit: bool


@dataclass(frozen=True)
class Savings:
    """What screening saved, and how often it was wrong where that was tried.

    Args:
        spared: Candidates that were not evaluated, as they could not beat the best by prediction.
        audited: Such candidates that were evaluated all the same.
        wrong: How many of these did beat the best.
    """

    spared: int = 0
    audited: int = 0
    wrong: int = 0

    @classmethod
    def of(cls, screened: Sequence[tuple[Screening, Prediction]]) -> "Savings":
        """Count what was saved, over all proposals that were screened."""
        known = [(one, p, best) for one, p in screened if (best := one.incumbent) is not None]
        audits = [(p, best) for one, p, best in known if one.audit and p.low > best]
        return cls(
            spared=sum(one.spared for one, _ in screened),
            audited=len(audits),
            wrong=sum(p.score < best for p, best in audits),
        )

    @property
    def wrong_at_most(self) -> float | None:
        """Upper bound of the share spared wrongly (Clopper and Pearson 1934, 95%, one-sided).

        None if nothing was audited.
        """
        if not self.audited:
            return None
        if self.wrong == self.audited:
            return 1.0
        return float(beta.ppf(CONFIDENCE, self.wrong + 1, self.audited - self.wrong))
