"""Rank correlation of cheap scores with the outcome, with an interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Facts = Mapping[str, Any]
Pair = tuple[list[float], list[float]]
DRAWS = 2_000


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rank correlation, None where one of the two has a single rank."""
    ranks = [np.asarray(rankdata(values), float) for values in (one, other)]
    found = _correlations(*(values[None] for values in ranks))[0]
    return None if np.isnan(found) else float(found)


def interval(
    groups: Sequence[tuple[Sequence[float], Sequence[float]]], seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95% interval of the mean correlation of groups, policies drawn again in each."""
    rng = np.random.default_rng(seed)
    means = np.zeros(DRAWS)
    for one, other in groups:
        drawn = rng.integers(len(one), size=(DRAWS, len(one)))
        ranks = [rankdata(np.asarray(values)[drawn], axis=1) for values in (one, other)]
        means += np.nan_to_num(_correlations(*ranks)) / len(groups)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def scored(policies: Sequence[Facts], fidelity: str, outcome: str) -> Pair:
    """Return cheap scores and outcomes, both lower for the better."""
    sign = -1.0 if outcome == "quality" else 1.0
    return (
        [policy[fidelity] for policy in policies],
        [sign * policy["outcome"][outcome] for policy in policies],
    )


def _correlations(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return Pearson's correlation row by row; NaN where a row does not vary."""
    left, right = (rows - rows.mean(1, keepdims=True) for rows in (one, other))
    scale = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.float64] = (left * right).sum(1) / scale
    return found
