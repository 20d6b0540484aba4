"""Policies that are being scored: by our own workers, or by another run that was first."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from optuna.exceptions import StorageInternalError
from optuna.trial import Trial

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.lost_workers import LostWorkers
from autoprune.agent.evaluating.scoring import Scoring, failed
from autoprune.agent.housing.company import Company
from autoprune.agent.loop.trials import abandon
from autoprune.core.policy import Policy
from autoprune.core.workers import Crew, WorkersLostError
from autoprune.errors import AutopruneError, InfrastructureError, ModelError
from autoprune.storage.records import Evaluation

_WAIT = 1.0  # seconds between two looks at what another run scores


@dataclass
class _Begun:
    trial: Trial
    job: Scoring


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
    _waiting: dict[int, _Begun] = field(default_factory=dict)  # for others who score the same
    _policies: set[str] = field(default_factory=set)  # fingerprints of those begun
    _lost: LostWorkers = field(default_factory=lambda: LostWorkers("policies"))
    _suspects: dict[int, Evaluation] = field(default_factory=dict)  # failed, if workers do live

    def __len__(self) -> int:
        return len(self._begun)

    def __contains__(self, policy: Policy) -> bool:
        return policy.fingerprint in self._policies

    @property
    def numbers(self) -> set[int]:
        """The numbers of the trials."""
        return set(self._begun)

    @property
    def room(self) -> int:
        """How many more can be begun."""
        size = self.crew.workers.size
        return max(size - max(self.crew.busy, len(self._waiting)), 0)

    def begin(self, jobs: Sequence[tuple[Trial, Scoring]]) -> None:
        """Let policies be scored, but those that another run scores at this moment."""
        begun = [_Begun(*one) for one in jobs]
        self._begun |= {one.trial.number: one for one in begun}
        self._policies |= {one.job.policy.fingerprint for one in begun}
        self._give(begun)

    def ended(self, timeout: float | None) -> Iterator[list[tuple[Trial, Evaluation]]]:
        """Wait for one or more to end, and yield them with what was found, which is kept by then.

        Args:
            timeout: Seconds to wait at most, None for no limit.

        Raises:
            InfrastructureError: If workers do not live long enough to score anything.
        """
        if self._suspects and not self.crew.busy:  # nobody is left whose return would tell
            yield self._kept(self._proven())
            return
        if self._waiting:
            timeout = _WAIT
            if not self.crew.busy:
                time.sleep(_WAIT)
        found, problem = self._left(timeout)
        if found:
            yield self._kept(found)
        if problem is not None:
            raise problem
        if self._waiting:
            if known := self._found_by_others():
                yield known
            idle = max(self.crew.workers.size - self.crew.busy, 0)
            self._give(list(self._waiting.values())[:idle])

    def rest(self) -> Iterator[list[tuple[Trial, Evaluation]]]:
        """Wait for all that workers do, and yield what was found; others may be given them then.

        Raises:
            InfrastructureError: If workers do not live long enough to score anything.
        """
        while self.crew.busy:
            found, problem = self._left(None)
            if found:
                yield self._kept(found)
            if problem is not None and not isinstance(problem, ModelError):
                raise problem

    def _left(self, timeout: float | None) -> tuple[dict[int, Evaluation], BaseException | None]:
        """Return what left the workers, by trial, and what put an end to it."""
        came: list[tuple[int, Evaluation | WorkersLostError]] = []
        found: dict[int, Evaluation] = {}
        problem: BaseException | None = None
        try:
            came.extend(self.crew.done(timeout))
        except BaseException as err:  # what is found already is kept first
            problem = err
        for number, result in came:
            if isinstance(result, WorkersLostError):
                problem = self._suspected(number, result) or problem
            else:
                self._lost.came_back()
                found |= {**self._proven(), number: result}
        return found, problem

    def _suspected(self, number: int, lost: WorkersLostError) -> InfrastructureError | None:
        """Take in that a policy cost its workers; return an error if too many in a row did.

        It has failed once another one comes back: if none does, it is not the policies, and all
        of them are to be scored again.
        """
        try:
            reason = self._lost.blame(lost)
        except InfrastructureError as err:
            return err
        self._suspects[number] = failed(self._begun[number].job.policy, reason)
        return None

    def _proven(self) -> dict[int, Evaluation]:
        """Return what failed by costing its workers, as far as that is not known yet."""
        proven, self._suspects = self._suspects, {}
        return proven

    def _kept(self, found: Mapping[int, Evaluation]) -> list[tuple[Trial, Evaluation]]:
        """Store what was found, and let others know that nobody works on it any more."""
        kept = self.evaluations.keep_all(list(found.values()))
        self.company.give_back([self.evaluations.lease(one.policy) for one in found.values()])
        return [(self._over(at), one) for at, one in zip(found, kept, strict=True)]

    def _found_by_others(self) -> list[tuple[Trial, Evaluation]]:
        """Return what others found of policies that were waited for."""
        waiting = list(self._waiting.values())
        known = self.evaluations.known_all([(one.job.policy, one.job.watch) for one in waiting])
        return [
            (self._over(one.trial.number), known[one.job.policy])
            for one in waiting
            if one.job.policy in known
        ]

    def _over(self, number: int) -> Trial:
        """Forget a trial, and return it."""
        one = self._begun.pop(number)
        self._waiting.pop(number, None)
        self._policies.discard(one.job.policy.fingerprint)
        return one.trial

    def abandon(self) -> None:
        """Give back all trials; nothing of them is known. Others settle what is not given back."""
        begun = list(self._begun.values())
        for one in begun:
            with suppress(AutopruneError, StorageInternalError):
                abandon(one.trial)
        if begun:
            with suppress(AutopruneError):
                self.company.give_back([self.evaluations.lease(one.job.policy) for one in begun])
        for part in (self._begun, self._waiting, self._policies, self._suspects):
            part.clear()

    def _give(self, begun: Sequence[_Begun]) -> None:
        """Give to workers what nobody else does."""
        leases = {self.evaluations.lease(one.job.policy): one for one in begun}
        taken = self.company.take(list(leases)) if leases else set()
        ours = {lease: one.job for lease, one in leases.items() if lease in taken}
        late = self._late(ours) if ours else set()
        for lease, one in leases.items():
            if lease in ours and lease not in late:
                self._waiting.pop(one.trial.number, None)
                self.crew.give(one.trial.number, one.job)
            else:
                self._waiting[one.trial.number] = one

    def _late(self, ours: Mapping[str, Scoring]) -> set[str]:
        """Return leases that came too late, for somebody else has scored meanwhile."""
        known = self.evaluations.known_all([(job.policy, job.watch) for job in ours.values()])
        late = {lease for lease, job in ours.items() if job.policy in known}
        if late:
            self.company.give_back(sorted(late))
        return late
