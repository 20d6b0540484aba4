"""Candidates of one pool, ranked together: what one tells of the others is taken into account."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.belief import Belief, expected_improvement
from autoprune.core.arrays import Floats

_LEAST = 1e-12  # variance


@dataclass
class Joint:
    """What is expected of candidates, noise left out.

    Args:
        mean: Scores expected, or their logarithms.
        covariance: How they vary together, ``candidates x candidates``.
        noise: Variance of the noise that each score has.
        best: The lowest score that is expected of what was proposed so far.
    """

    mean: Floats
    covariance: Floats
    noise: float
    best: float

    @classmethod
    def of(cls, belief: Belief, rows: Rows) -> "Joint":
        """Return what is believed of candidates, ``candidates x columns``."""
        mean, covariance = belief.together(rows)
        return cls(mean, covariance, belief.model.noise_**2, belief.best)

    def best_first(self) -> Iterator[int]:
        """Yield numbers of candidates, each expected to improve most once those before are scored.

        Until then they are taken to turn out as expected (Ginsbourger et al. 2010, the kriging
        believer), which changes no mean, and leaves less to be learned where they are.
        """
        left = np.ones(len(self.mean), bool)
        while left.any():
            std = np.sqrt(np.maximum(np.diag(self.covariance), _LEAST))
            gains = expected_improvement(self.best - self.mean, std)
            at = int(np.argmax(np.where(left, gains, -np.inf)))
            left[at] = False
            yield at
            told = self.covariance[at]
            known = max(told[at] + self.noise, _LEAST)
            self.covariance = self.covariance - np.outer(told, told) / known
            self.best = min(self.best, float(self.mean[at]))
