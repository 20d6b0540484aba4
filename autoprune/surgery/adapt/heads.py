"""How many heads are left, read from what was removed."""

from collections.abc import Mapping

import numpy as np

from autoprune.surgery.ids import Ids

Gone = Mapping[str, Mapping[int, Ids]]


def heads_left(gone: Ids, size: int, heads: int, parts: int = 3) -> int:
    """Return the heads that keep a channel, of ``size`` laid out as ``parts x heads x width``."""
    kept = np.ones(size, bool)
    kept[gone] = False
    return int(kept.reshape(parts, heads, -1).any(axis=(0, 2)).sum())
