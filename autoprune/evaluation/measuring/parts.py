"""Parts of a batch: paired tests want many pairs, and batches may be few."""

from typing import Any

from autoprune.tasks.chunks import chunks

LEAST_SAMPLES = 8  # of a part


def parts_of(samples: int, most: int, *whole: Any) -> list[tuple[Any, ...]]:
    """Return a batch and what belongs to it, its outputs for one, in parts alike.

    How they are cut depends on sizes and types alone, so it is the same for every model.

    Args:
        samples: Samples in the batch.
        most: Parts at most; each has `LEAST_SAMPLES` at least.
        whole: The batch and what belongs to it.

    Returns:
        A tuple like ``whole`` for each part; none where there is one part, or `chunks` cannot cut.
    """
    count = min(most, samples // LEAST_SAMPLES)
    if count < 2:
        return []
    cut = [chunks(one, samples, -(-samples // count)) for one in whole]
    kinds = [type(parts[0]) is type(one) for parts, one in zip(cut, whole, strict=True)]
    alike = all(kinds) and len({len(parts) for parts in cut}) == 1 and len(cut[0]) > 1
    return list(zip(*cut, strict=True)) if alike else []
