"""What attempts at a leg come to: the best one, those that are out, what the ledger is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.agent.evaluating.significance import chance_worse
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.progressive.state import Attempt
from autoprune.agent.rollback.regret import examined
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.mappings import differing


@dataclass(frozen=True)
class Judged:
    """What attempts come to.

    Args:
        best: The first one, unless another is better by a paired test; None if all failed.
        worse: Numbers of targets whose attempts failed or scored worse: they are out.
        entries: What the ledger is told, an entry for each alternative to the first.
    """

    best: Attempt | None
    worse: frozenset[int]
    entries: Sequence[LedgerEntry]


def judged(attempts: Sequence[Attempt], projection: Projection, step: int) -> Judged:
    """Compare attempts that cost alike on the same samples; noise does not take the first back.

    Args:
        attempts: Attempts at a leg that cuts, in the order in which they were made.
        projection: What knows costs.
        step: Number of the leg, from 1.
    """
    worse = {one.target for one in attempts if one.stage is None}
    fine = [one for one in attempts if one.stage is not None]
    if not fine:
        return Judged(None, frozenset(), ())
    best, entries = fine[0], list[LedgerEntry]()
    for other in fine[1:]:
        pair = (best.evaluation, other.evaluation)
        family = len(fine) - 1
        entry = examined(_units(best, other), *pair, projection, family=family, step=step)
        entries.append(entry)
        if entry.outcome is Outcome.REVERTED:
            worse.add(best.target)
            best = other
        elif entry.outcome is Outcome.WORSE:
            worse.add(other.target)
    return Judged(best, frozenset(worse - {best.target}), entries)


def is_worse(one: Attempt, other: Attempt, level: float) -> bool:
    """Tell whether a paired test on the same samples says so."""
    if one.stage is None or other.stage is None:
        return one.stage is None
    chance = chance_worse(one.stage, other.stage)
    return chance is not None and chance < level


def _units(best: Attempt, other: Attempt) -> tuple[str, ...]:
    """Return the units that the best cuts deeper; if there is none, all that they differ in."""
    ours, theirs = best.policy, other.policy
    names = differing(ours, theirs)
    deeper = [
        n
        for n in names
        if n in ours and (n not in theirs or ours[n].sparsity > theirs[n].sparsity)
    ]
    return tuple(deeper or names)
