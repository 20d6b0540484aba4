"""The step of channel counts in which a device's latency rises."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls

STEPS = (1, 2, 4, 8, 16, 32, 64)
_AS_GOOD = 1.5  # times the least squared error, up to which the larger step is taken


def find_step(seconds: Mapping[int, float]) -> int:
    """Return the step of `STEPS` that explains best how time grows with channels.

    Time rises from one multiple of the step to the next and is flat between them, or higher by a
    constant off the multiples, where kernels without vectors take over (Kwon et al.). Of steps
    that explain as much the largest counts.

    Args:
        seconds: Time by number of channels, over a row of numbers next to each other.
    """
    counts = np.array(sorted(seconds))
    times = np.array([seconds[count] for count in counts])
    errors = {step: _error(counts, times, step) for step in STEPS if step * 2 <= np.ptp(counts)}
    floor = np.square(0.01 * times).sum()  # what noise leaves unexplained in any case
    least = min(errors.values(), default=0.0)
    able = [step for step, error in errors.items() if error <= _AS_GOOD * least + floor]
    return max(able, default=1)


def _error(counts: np.ndarray, times: np.ndarray, step: int) -> float:
    stairs = -(-counts // step) * step
    parts = np.stack([np.ones(len(counts)), stairs, counts % step != 0], axis=1)
    return float(nnls(parts.astype(float), times)[1] ** 2)
