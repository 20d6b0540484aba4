"""From probes to errors that never fall as more is removed."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.isotonic import IsotonicRegression

from autoprune.core.arrays import Floats
from autoprune.evaluation.probing.points import Point, fixed
from autoprune.space.schema import UnitSpace

_LEAST_NOISE = 1e-6  # of a loss: so that no entry weighs infinitely much in a fit


def fit(
    space: UnitSpace, known: Mapping[Point, tuple[float | None, float]], failed: float
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return errors and noise of all levels by method: never falling, 0 at level 0.

    A method is fitted by isotonic regression, each probe weighed by its noise, and interpolated
    over the atoms removed. A method that was probed at one level where another was probed at
    more is taken to differ from the best of those in proportion to the atoms removed.

    Args:
        space: What may be chosen for the unit.
        known: Loss given up and its standard error, None for a probe that failed.
        failed: What a failed probe counts as.
    """
    gone = np.array([space.atoms - kept for kept in space.kept], np.float64)
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for (method, level), (error, stderr) in sorted(known.items()):
        value = (failed, failed) if error is None else (error, stderr)
        found.setdefault(method, {})[level] = value
    once, errors, noise = fixed(space), dict[str, Floats](), dict[str, Floats]()
    longest = max(len(own) for own in found.values())
    for method, own in found.items():
        if method in once:
            errors[method] = np.where(gone > 0, max(own[1][0], 0.0), 0.0)
            noise[method] = np.where(gone > 0, own[1][1], 0.0)
        elif len(own) == longest:
            errors[method], noise[method] = _isotonic(gone, own)
    curves = [method for method in errors if method not in once]
    for method in found.keys() - errors.keys():
        ((level, (error, stderr)),) = found[method].items()
        best = min(curves, key=lambda m: errors[m][level])
        share = gone / gone[level]
        errors[method] = errors[best] + max(error - errors[best][level], 0.0) * share
        noise[method] = np.hypot(noise[best], stderr * share)
    return errors, noise


def failed_error(given_up: Sequence[float]) -> float:
    """Return what a failed probe counts as: twice the largest loss given up, 1 at least."""
    return max(1.0, 2 * max(given_up, default=0.0))


def _isotonic(gone: Floats, own: Mapping[int, tuple[float, float]]) -> tuple[Floats, Floats]:
    levels = sorted(own)
    at = np.concatenate([[0.0], gone[levels]])
    values = np.array([own[level][0] for level in levels])
    stderr = np.array([own[level][1] for level in levels])
    weights = 1 / np.maximum(stderr, _LEAST_NOISE) ** 2
    rising = IsotonicRegression(y_min=0.0)
    fitted = rising.fit(at[1:], values, sample_weight=weights / weights.max()).predict(at[1:])
    errors = np.interp(gone, at, np.concatenate([[0.0], fitted]))
    return errors, np.interp(gone, at, np.concatenate([[0.0], stderr]))
