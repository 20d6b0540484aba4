"""Why candidates are stopped early: each is judged by the best inside the limits it aims at."""

from collections.abc import Sequence
from functools import partial

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.early_stop import Courses, reason_to_stop
from autoprune.agent.loop.ranking import Scored
from autoprune.agent.samplers.base import PolicySampler
from autoprune.core.policy import Policy
from autoprune.evaluation.scoring.scorer import Watch
from autoprune.storage.records import Evaluation

_LEARNED = 300  # evaluations, the latest, whose courses tell whether another one catches up


def best_inside(scored: Scored, aim: Projection) -> Evaluation | None:
    """Return the best evaluation inside limits as they are aimed at, None if there is none."""
    return next((one for one in scored.best_first() if aim.aims_at(one.policy)), None)


def watches(
    policies: Sequence[Policy], sampler: PolicySampler, scored: Scored, least: int
) -> dict[Policy, Watch]:
    """Return what says of each policy after each of its stages why to stop, or None.

    Args:
        policies: The policies.
        sampler: Knows the limits that each aims at.
        scored: What was scored so far.
        least: Evaluations that must have come to their end before any is stopped.
    """
    completed = Courses.of(scored.latest(_LEARNED))
    best: dict[int, Evaluation | None] = {}
    found: dict[Policy, Watch] = {}
    for policy in policies:
        aim = sampler.aim(policy)
        if id(aim) not in best:
            best[id(aim)] = best_inside(scored, aim)
        own = best[id(aim)]
        found[policy] = partial(reason_to_stop, incumbent=own, completed=completed, least=least)
    return found
