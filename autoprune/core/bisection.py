"""Which limit is tried next, on the way to the smallest model that is good enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN

from autoprune.core.numbers import rounded

PRECISION = 0.05  # of the limits that failed and held, the lower one is so far below at most
_LEAST = 1e-6  # of the highest limit; nothing costs nothing
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Tried:
    """A limit, and what was found at it.

    Args:
        limit: The limit.
        found: What the model costs that is good enough, at most the limit; None if there is none.
    """

    limit: float
    found: float | None


@dataclass(frozen=True)
class Bisection:
    """The bracket that limits are halved in, by their ratio.

    Below ``low`` nothing is looked for any more, ``high`` costs what is known to be good enough.
    A failure speaks for all lower limits and a success for all higher ones: where quality does
    not rise with cost, a success below a failure wins.

    Args:
        least: What the smallest model costs that can be reached.
        most: The highest limit.
        tried: What was tried so far.
    """

    least: float
    most: float
    tried: Sequence[Tried] = ()

    @property
    def high(self) -> float:
        """The lowest cost that is good enough; at first above ``most``, which is tried too."""
        found = [one.found for one in self.tried if one.found is not None]
        return min(found, default=self.most / (1 - PRECISION))

    @property
    def low(self) -> float:
        """The highest limit below ``high`` that failed, at first just below ``least``."""
        failed = [one.limit for one in self.tried if one.found is None and one.limit < self.high]
        start = max(self.least, _LEAST * self.most) * (1 - PRECISION)
        return min(max(failed, default=start), self.high)

    @property
    def narrow(self) -> bool:
        """Whether the ends are so close that no limit between them is worth a search."""
        return self.low >= self.high * (1 - PRECISION) * (1 - _SAME)

    @property
    def next(self) -> float | None:
        """The limit to be tried next, None if there is none."""
        if self.narrow:
            return None
        middle = rounded(math.sqrt(self.low * self.high), ROUND_HALF_EVEN)
        limit = min(max(middle, rounded(self.least, ROUND_CEILING)), self.most)
        return limit if self.low < limit < self.high else None

    @property
    def left(self) -> int:
        """How many limits are still to be tried at most, this one included; at least 1."""
        if self.narrow:
            return 1
        width = math.log(self.high / self.low) / -math.log(1 - PRECISION)
        return max(math.ceil(math.log2(width) - _SAME), 1)
