"""What proposes policies: one sampler inside one budget, or one for each of several limits."""

from dataclasses import dataclass
from functools import cached_property

from autoprune.agent.feasible.encoding import Encoding, Params
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.preparing.prepare import Prepared
from autoprune.agent.proposing.warm_start import WarmStart
from autoprune.agent.request import Request
from autoprune.agent.samplers.anchors import first_proposals
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.front import FrontSampler
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.sensitivity.sensed import Sensed
from autoprune.core.arrays import Floats


@dataclass(frozen=True)
class Proposers:
    """Makes the samplers of one search; all of them begin with what is known before it.

    Args:
        request: What is asked for.
        prepared: What the search starts from.
        sensed: The sensitivity table.
        warm: What earlier runs found.
    """

    request: Request
    prepared: Prepared
    sensed: Sensed
    warm: WarmStart

    def first(self) -> PolicySampler:
        """Return what the search begins with: of a front one sampler for each limit, in turns."""
        request, limits = self.request, self.prepared.pricing.projections
        if request.pareto:
            samplers = [self._at_limit(one, number) for number, one in enumerate(limits)]
            return FrontSampler(samplers, request.seed)
        if request.tolerance:
            return self.at_limit(limits[-1], 0, 0)
        return self._sampler(limits[-1], self._first(limits[-1]))

    def at_limit(self, projection: Projection, number: int, begun: int) -> FrontSampler:
        """Return what searches at one limit in a study of several.

        Args:
            projection: What is feasible there.
            number: Which limit it is: they begin with different policies.
            begun: Policies that the study held before it.
        """
        return FrontSampler([self._at_limit(projection, number)], self.request.seed, begun)

    def _at_limit(self, projection: Projection, number: int) -> PolicySampler:
        """Return a sampler that begins with the best policy by the table and another plain one.

        Each limit has few trials.
        """
        best, *others = self._first(projection)
        return self._sampler(projection, [best, *others[number % max(len(others), 1) :][:1]])

    def _first(self, projection: Projection) -> list[Params]:
        return first_proposals(self.prepared.plan, projection, self._errors)

    def _sampler(self, projection: Projection, first: list[Params]) -> PolicySampler:
        pool = Pool.of(projection, self._encoding, self._errors)
        start = Start(
            projection=projection,
            seed=self.request.seed,
            anchors=[*self.warm.first(pool, self.request.seed), *first],
            errors=self._errors,
            earlier=self._earlier,
            rollback=self.request.rollback,
        )
        return make_sampler(self.request.sampler, start)

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.prepared.projection.spaces)

    @cached_property
    def _errors(self) -> Floats | None:
        return self.sensed.padded(self._encoding)

    @cached_property
    def _earlier(self) -> list[Known]:
        return self.warm.known(self._encoding)
