"""How sure a drop of quality is: its standard error on the search split."""

import math

import numpy as np
from torch import nn

from autoprune.core.fingerprint import seed_from
from autoprune.core.yardstick import in_points
from autoprune.evaluation.measuring.search_split import SearchSplit
from autoprune.evaluation.scoring.scorer import Scorer


def drop_error(scorer: Scorer, pruned: nn.Module) -> float | None:
    """Return the standard error of the drop from the dense to a pruned model.

    It is told as drops are, see `in_points`.

    Both are measured on the same samples; the spread of the paired differences of their metric is
    what counts, so what is hard for both adds nothing. None where there is one batch that cannot
    be looked at in parts, or where the metric of a batch alone is none. It is evidence, as the
    test split is, and no part of the search's cost.

    Args:
        scorer: What measured the pruned model.
        pruned: The model, on whatever device.
    """
    seed = seed_from(scorer.seed, "search")
    split = SearchSplit(scorer.task, scorer.model, "metric", seed, scorer.device)
    models = (scorer.model, pruned.to(scorer.device))
    try:
        before, after = (np.array(_metric_by_part(split, model)) for model in models)
    except Exception:  # a metric, the user's own maybe, may need samples of more than one batch
        return None
    gaps = after - before
    if len(gaps) < 2 or not np.isfinite(gaps).all():
        return None
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    return in_points(error, scorer.task.is_share)


def _metric_by_part(split: SearchSplit, model: nn.Module) -> tuple[float, ...]:
    """Return the negative metric of parts of the split, so weighted that the mean is that of all.

    See `Stage.values`.
    """
    reading = split.reading()
    split.extend(reading, model, 1.0)
    return reading.stage(0).values
