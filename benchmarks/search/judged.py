"""What the policies that a search found are worth, judged on images and seeds it has not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean

from autoprune.core.policy import Policy
from autoprune.core.recovery import Recovery
from autoprune.core.stages import Stage
from autoprune.storage.records import Evaluation
from benchmarks.group import Group, tested_after

STEPS, SEEDS = 100, (1001, 1002, 1003)
PLAIN = Recovery(reconstruct=False, distill=0.0)  # all are judged as those that Optuna alone found


@dataclass
class Judge:
    """Chooses between the best few by score as the end of a search does, and tests the choice.

    The best of hundreds of noisy scores is better than it deserves: the best few are recovered
    for longer and compared on the search split. Only the choice is measured on test images.

    Args:
        group: The model under its limit.
        seed: Seed of the search.
        before: Sample forwards before the first evaluation.
        finalists: How many of the best are compared.
    """

    group: Group
    seed: int
    before: float
    finalists: int
    _recovered: dict[str, tuple[Stage, float]] = field(default_factory=dict)
    _tested: dict[str, tuple[float, float]] = field(default_factory=dict)

    def rows(self, made: Sequence[Evaluation], counts: Sequence[int]) -> Iterator[list[float]]:
        """Yield evaluations, sample forwards, loss and quality after each of ``counts``.

        The sample forwards are those of the evaluations and of the comparison of the best few.
        """
        for count in (at for at in counts if at <= len(made)):
            scored = [one for one in made[:count] if one.score is not None]
            best = sorted(scored, key=lambda one: one.score or 0.0)[: self.finalists]
            compared = {one.policy: self._recover(one.policy) for one in best}
            cost = self.before + sum(one.sample_forwards for one in made[:count])
            cost += sum(forwards for _, forwards in compared.values())
            chosen = min(compared, key=lambda one: compared[one][0].rank)
            yield [count, cost, *self._test(chosen)]

    def _recover(self, policy: Policy) -> tuple[Stage, float]:
        if policy.fingerprint not in self._recovered:
            scorer = replace(self.group.scorer, recovery=PLAIN, seed=self.seed)
            candidate = scorer.candidate(policy, STEPS, final=True)
            candidate.reach(STEPS)
            self._recovered[policy.fingerprint] = candidate.stages[-1], candidate.sample_forwards
        return self._recovered[policy.fingerprint]

    def _test(self, policy: Policy) -> tuple[float, float]:
        """Return loss and quality on test images, means over seeds that no search has seen."""
        if policy.fingerprint not in self._tested:
            plain = replace(self.group.scorer, recovery=PLAIN)
            made = [tested_after(replace(plain, seed=one), policy, STEPS)[0] for one in SEEDS]
            worth = mean(one.loss for one in made), mean(one.quality for one in made)
            self._tested[policy.fingerprint] = worth
        return self._tested[policy.fingerprint]
