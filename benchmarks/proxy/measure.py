"""What policies score cheaply, and what they are worth once they are recovered in full."""

from collections.abc import Sequence
from dataclasses import replace

from autoprune.core.policy import Policy
from autoprune.core.recovery import Recovery
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.loader import load_space
from benchmarks.group import Group, tested_after
from benchmarks.isolated import Facts, Note
from benchmarks.networks import dense, task
from benchmarks.proxy.policies import SOURCES


def train(note: Note, model: str) -> None:
    """Train a dense model, if it is not in the cache, and note what it is worth."""
    note(stage="train")
    found = measure(dense(model), task(), "test", "cpu")
    note(loss=found.loss, quality=found.quality)


def judge(
    note: Note,
    model: str,
    macs: str,
    source: str,
    seed: int,
    count: int,
    again: int,
    steps: Sequence[int],
    full: int,
) -> None:
    """Note ``policies``: cheap scores and the outcome of full recovery of each.

    Args:
        note: Told the facts.
        model: Name of the dense model.
        macs: The limit.
        source: Where policies come from.
        seed: Of the source; for a search the steps it scores after.
        count: How many policies.
        again: How many of them are recovered a second time with another seed.
        steps: Training steps of the cheap scores.
        full: Training steps of full recovery.
    """
    note(stage="prepare")
    group = Group.of(model, macs, load_space("default"))
    long = replace(group.scorer, recovery=Recovery())
    found: list[Facts] = []
    for at, policy in enumerate(SOURCES[source](group, seed, count)):
        share = group.scorer.cost.price(group.scorer.kept(policy)).macs
        facts: Facts = {"macs": share / group.scorer.cost.dense.macs}
        for number in steps:
            facts |= _cheap(group.scorer, policy, number)
            note(stage=f"policy {at} after {number} steps")
        facts["outcome"] = _full(long, policy, full)
        if at < again:
            facts["again"] = _full(replace(long, seed=1), policy, full)
        found.append(facts)
        note(policies=found)


def _cheap(scorer: Scorer, policy: Policy, steps: int) -> Facts:
    """Return the three scores after ``steps``, lower is better, and their common cost."""
    candidate = scorer.candidate(policy, steps)
    found = candidate.reach(steps)
    return {
        f"loss@{steps}": found.loss,
        f"metric@{steps}": -found.quality,
        f"kl@{steps}": found.score,
        f"forwards@{steps}": candidate.sample_forwards,
        f"seconds@{steps}": candidate.seconds,
    }


def _full(scorer: Scorer, policy: Policy, steps: int) -> Facts:
    """Return what the recovered model is worth on images that no score has seen."""
    tested, seconds = tested_after(scorer, policy, steps)
    return {"loss": tested.loss, "quality": tested.quality, "seconds": seconds}
