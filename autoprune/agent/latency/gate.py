"""The last word on latency: whole models, measured in pairs with the dense one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from torch import nn

from autoprune.agent.latency.search import TargetLatency
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.core.limit import Limit, limit_text
from autoprune.cost.latency.graph import EndToEnd
from autoprune.cost.latency.observations import Comparison

SECONDS = 10.0  # for one comparison; it ends sooner where the machine is calm


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model compared with the dense one on one target.

    Args:
        comparison: The times.
        limit: What was asked for.
    """

    comparison: Comparison
    limit: Limit

    @property
    def excess(self) -> float:
        """What the model takes as a share of the limit: the upper end of the interval counts.

        A model slower than the dense one is no answer to any limit.
        """
        if self.limit.relative:
            return self.comparison.high / self.limit.amount
        return max(1000 * self.comparison.pruned.high / self.limit.amount, self.comparison.ratio)

    @property
    def text(self) -> str:
        """The median and the upper end of its interval, in the unit of the limit."""
        one = self.comparison
        if self.limit.relative:
            median, upper = f"{one.ratio:.1%} of the dense model", f"{one.high:.1%}"
        else:
            median, upper = f"{1000 * one.pruned_s:.4g} ms", f"{1000 * one.pruned.high:.4g} ms"
        slower = not self.limit.relative and one.ratio > 1
        more = ", slower than the dense model" if slower else ""
        return f"median {median}, upper end of its 95% interval {upper}{more}"

    @property
    def missed(self) -> bool:
        """Whether the median is above the limit."""
        if self.limit.relative:
            return self.comparison.ratio > self.limit.amount
        slow = 1000 * self.comparison.pruned_s > self.limit.amount
        return slow or self.comparison.ratio > 1

    @property
    def dense_ms(self) -> float:
        """Milliseconds of one forward of the dense model."""
        return 1000 * self.comparison.dense_s

    @property
    def pruned_ms(self) -> float:
        """Milliseconds of one forward of the model; from the pairs if the limit is a share."""
        if self.limit.relative:
            return self.comparison.ratio * self.dense_ms
        return 1000 * self.comparison.pruned_s


@dataclass
class Gate:
    """Measures models against the budget's limits on latency; without one it lets all pass.

    Args:
        pairs: The dense model, loaded, by cost.
        limits: Limit by cost.
        seen: What was measured, by the name it was measured under.
    """

    pairs: Mapping[str, EndToEnd]
    limits: Mapping[str, Limit]
    seen: dict[str, dict[str, Measurement]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, latencies: Sequence[TargetLatency], budget: Budget) -> Iterator["Gate"]:
        """Load the dense model on each target; raises `ModelError` where it cannot run."""
        with ExitStack() as stack:
            pairs = {}
            for latency in latencies:
                meter = latency.meter
                pairs[f"{LATENCY}{meter.target}"] = stack.enter_context(meter.against_dense())
            yield cls(pairs, {cost: budget.limits[cost] for cost in pairs})

    def under(self, budget: Budget) -> "Gate":
        """Return a gate for another budget; what was measured is judged by its limits."""
        limits = {cost: budget.limits[cost] for cost in self.pairs}
        seen = {
            name: {cost: replace(one, limit=limits[cost]) for cost, one in measured.items()}
            for name, measured in self.seen.items()
        }
        return Gate(self.pairs, limits, seen)

    def measure(self, name: str, model: nn.Module) -> dict[str, Measurement]:
        """Return what is measured of a model by cost, and remember it."""
        self.seen[name] = {
            cost: Measurement(pairs.compare(model, SECONDS), self.limits[cost])
            for cost, pairs in self.pairs.items()
        }
        return self.seen[name]


def exceeded(measured: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Return what was measured of the limits that are exceeded."""
    return {cost: one for cost, one in measured.items() if one.excess > 1}


def told(measured: Mapping[str, Measurement]) -> str:
    """Return what was measured beside each limit, for a person."""
    return "; ".join(
        f"{one.text}, for {limit_text(cost, one.limit)}" for cost, one in measured.items()
    )


def told_misses(missed: Mapping[str, Measurement]) -> str:
    """Return by how much limits were missed, and what counts."""
    return "; ".join(
        f"{limit_text(cost, one.limit)} by {one.excess - 1:.1%} ({one.text}: before fine-tuning "
        "the upper end must be inside, after it the median)"
        for cost, one in missed.items()
    )
