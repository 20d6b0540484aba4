"""One sampler for each limit of a front, in turns; all learn from every trial."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.proposal import Proposal
from autoprune.core.policy import Policy


class FrontSampler(PolicySampler):
    """Asks samplers in turn, each of which proposes inside a limit of its own.

    Whose limit leaves nothing new is passed over.

    Args:
        samplers: One for each limit, the tightest first; each limit holds those before it. One
            alone searches at its limit in a study of a front.
        seed: Seed of the run.
        begun: Policies that the study held before these limits were searched.
    """

    objectives: ClassVar[int] = 2
    goes_on: ClassVar[bool] = False  # the sampler of the highest limit does, if any

    def __init__(self, samplers: Sequence[PolicySampler], seed: int, begun: int = 0) -> None:
        super().__init__(samplers[-1].projection, seed)
        self.samplers = samplers
        self._begun = begun
        self.needs_trial = samplers[-1].needs_trial

    def aim(self, policy: Policy) -> Projection:
        """Return the tightest limit that a policy is inside, else the highest."""
        aims = (sampler.projection for sampler in self.samplers)
        return next((aim for aim in aims if aim.aims_at(policy)), self.projection)

    def _next(
        self, study: Study, trial: FrozenTrial | None, known: Known, rng: np.random.Generator
    ) -> Proposal | None:
        turn, at = divmod(known.started - self._begun, len(self.samplers))
        for sampler in (*self.samplers[at:], *self.samplers[:at]):
            found = sampler.proposal(study, trial, known, turn)
            if found.row.tobytes() not in known.tried:
                return found
        return None
