"""Policies that are being scored: by our own workers, or by another run that was first."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from autoprune.agent.company import Company
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.scoring import Scoring, failed
from autoprune.agent.trials import abandon
from autoprune.core.policy import Policy
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.errors import AutopruneError, InfrastructureError
from autoprune.evaluation.scorer import Watch
from autoprune.storage.records import Evaluation

_MOST_LOST = 3  # policies in a row that cost their workers, before the workers are to blame
_WAIT = 1.0  # seconds between two looks at what another run scores


@dataclass
class _Begun:
    trial: Trial
    job: Scoring
    given: bool = False


@dataclass
class Underway:
    """Trials that were begun and have not come to their end.

    Args:
        crew: Who scores policies.
        evaluations: What knows scores and keeps them.
        company: Others who may score the same.
    """

    crew: Crew[Scoring, Evaluation]
    evaluations: Evaluations
    company: Company
    _begun: dict[int, _Begun] = field(default_factory=dict)
    _lost: int = 0  # policies in a row that took their workers with them

    def __len__(self) -> int:
        return len(self._begun)

    def __contains__(self, policy: Policy) -> bool:
        return any(one.job.policy == policy for one in self._begun.values())

    @property
    def numbers(self) -> set[int]:
        """The numbers of the trials."""
        return set(self._begun)

    @property
    def free(self) -> bool:
        """Whether another one can be begun."""
        return self.crew.free and len(self._waiting) < self.crew.workers.size

    def begin(self, trial: Trial, policy: Policy, watch: Watch) -> None:
        """Let a policy be scored, unless another run does so at this moment."""
        self._begun[trial.number] = _Begun(trial, Scoring(policy, watch))
        self._give(self._begun[trial.number])

    def ended(self, timeout: float | None) -> Iterator[tuple[Trial, Evaluation]]:
        """Wait for one or more to end, and yield them with what was found, which is kept by then.

        Args:
            timeout: Seconds to wait at most, None for no limit.

        Raises:
            InfrastructureError: If workers do not live long enough to score anything.
        """
        if self._waiting:
            timeout = _WAIT
            if not self.crew.busy:
                time.sleep(_WAIT)
        for number, found in self.crew.done(timeout):
            one = self._begun[number]
            kept = self.evaluations.keep(self._blamed(one.job.policy, found))
            self.company.give_back(self.evaluations.lease(one.job.policy))
            yield self._begun.pop(number).trial, kept
        for one in self._waiting:
            known = self.evaluations.known(one.job.policy, one.job.watch)
            if known is not None:
                yield self._begun.pop(one.trial.number).trial, known
            elif self.crew.free:
                self._give(one)

    def abandon(self) -> None:
        """Give back all trials; nothing of them is known."""
        for one in self._begun.values():
            with suppress(AutopruneError, UpdateFinishedTrialError):  # others settle it later
                abandon(one.trial)
                self.company.give_back(self.evaluations.lease(one.job.policy))
        self._begun.clear()

    @property
    def _waiting(self) -> list[_Begun]:
        return [one for one in self._begun.values() if not one.given]

    def _give(self, one: _Begun) -> None:
        if self.company.take(self.evaluations.lease(one.job.policy)):
            one.given = True
            self.crew.give(one.trial.number, one.job)

    def _blamed(self, policy: Policy, found: Evaluation | WorkersLostError) -> Evaluation:
        """Return what was found, or what a policy is said to have done to its workers."""
        if not isinstance(found, WorkersLostError):
            self._lost = 0
            return found
        self._lost += 1
        if self._lost >= _MOST_LOST:
            raise InfrastructureError(
                f"The last {self._lost} policies each cost {found}. What was scored before is "
                "kept. Look for what ends them, memory that runs out for one, and resume."
            )
        return failed(policy, f"it cost {found}")
