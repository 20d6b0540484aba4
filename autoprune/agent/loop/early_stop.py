"""Whether a candidate in the making is worth going on with."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from autoprune.agent.evaluating.significance import chance_worse
from autoprune.core.arrays import Floats
from autoprune.core.stages import Stage
from autoprune.storage.records import Evaluation

ALPHA = 0.01  # chance of stopping a candidate that is as good as the best, at each look
COVERAGE = 0.95
LEAST = 8  # evaluations that must have come to their end before any is stopped


def reason_to_stop(
    stages: Sequence[Stage],
    incumbent: Evaluation | None,
    completed: "Courses",
    least: int = LEAST,
) -> str | None:
    """Return why a candidate is stopped after the last of ``stages``, or None if it goes on.

    It is stopped if a one-sided paired t-test on the same batches says that it is worse than the
    incumbent was at the same stage, and, while training is not over, if what completed
    evaluations teach about the way from here to the end does not let it catch up.

    Args:
        stages: Where the candidate was measured.
        incumbent: The best evaluation so far, None if there is none.
        completed: How evaluations came to their end.
        least: How many of them there must be.
    """
    if incumbent is None or incumbent.score is None or completed.count < max(least, 3):
        return None
    stage, end = stages[-1], incumbent.stages[-1].steps if incumbent.stages else 0
    if not worse(stage, _at(stage, incumbent)):
        return None
    if stage.steps < end:
        known = completed.reached.get(stage.place, ())
        if len(known) < least or not lowest(stage.value, known) > incumbent.score:
            return None
    return (
        f"worse than the best so far on the same {stage.samples} samples after {stage.steps} of "
        f"{end} steps (paired test, p below {ALPHA:g})"
    )


@dataclass(frozen=True)
class Courses:
    """How evaluations came to their end: all that `reason_to_stop` needs, light to send.

    Args:
        count: How many there are.
        reached: What they had reached at each place, with their scores, ``evaluations x 2``.
    """

    count: int
    reached: Mapping[tuple[int, int], Floats]

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation]) -> "Courses":
        """Return those of evaluations that have a score."""
        ended = [(one.stages, one.score) for one in evaluations if one.score is not None]
        reached: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for stages, score in ended:
            for place, value in {one.place: one.value for one in reversed(stages)}.items():
                reached.setdefault(place, []).append((value, score))
        return cls(len(ended), {place: np.array(pairs) for place, pairs in reached.items()})


def worse(stage: Stage, best: Stage | None) -> bool:
    """Tell whether a one-sided paired t-test over parts of the split says so, at level `ALPHA`."""
    chance = None if best is None else chance_worse(stage, best)
    return chance is not None and chance < ALPHA


def lowest(value: float, known: Iterable[tuple[float, float]]) -> float:
    """Return the lower end of the prediction interval of a final score, by linear regression.

    Args:
        value: What the candidate has reached.
        known: Values reached at that stage and final scores, at least 3 pairs.

    Returns:
        Minus infinity if nothing can be said, as all reached the same.
    """
    reached, final = np.array(list(known), float).T
    count, centre = len(reached), reached.mean()
    spread = float(np.square(reached - centre).sum())
    if spread <= 1e-12 * max(centre**2, 1e-300) * count:
        return -math.inf
    slope = float(((reached - centre) * final).sum()) / spread
    expected = final.mean() + slope * (reached - centre)
    noise = math.sqrt(float(np.square(final - expected).sum()) / (count - 2))
    away = 1 + 1 / count + (value - centre) ** 2 / spread
    reach = float(stats.t.ppf((1 + COVERAGE) / 2, count - 2)) * noise * math.sqrt(away)
    return float(final.mean() + slope * (value - centre) - reach)


def _at(stage: Stage, evaluation: Evaluation) -> Stage | None:
    """Return where an evaluation stood at the same stage, if it was measured there."""
    return next((one for one in evaluation.stages if one.place == stage.place), None)
