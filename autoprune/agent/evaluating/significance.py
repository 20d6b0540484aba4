"""Whether one model is worse than another on the same samples, and not just by chance."""

import math

import numpy as np
from scipy import stats

from autoprune.core.stages import Stage


def chance_worse(stage: Stage, other: Stage) -> float | None:
    """Return the chance that a stage is so much worse than another if they are alike.

    A one-sided paired t-test over parts of the search split; None where they were not measured on
    the same ones, or on a single one.
    """
    count = len(stage.values)
    if count != len(other.values) or count < 2 or stage.samples != other.samples:
        return None
    gaps = np.subtract(stage.values, other.values)
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1)) / math.sqrt(count)
    if error == 0:
        return 1.0 if mean <= 0 else 0.0
    return float(stats.t.sf(mean / error, count - 1))
