"""The policy of which an earlier run makes one expect most, inside the budget of this one."""

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.belief import Forecaster
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool

_BEGUN = 32  # of the earlier run's policies, its best, that the budget is spent from
_ROUNDS, _KEPT, _DRAWN = 6, 8, 64


def promising(pool: Pool, known: Known, rng: np.random.Generator) -> Rows:
    """Return the best policy of an earlier run, or what a predictor of its scores puts first.

    What was best under another budget need not be near to what is best under this one: brought
    to the limit, it may be among the worst. Unless the best one is inside this budget and uses
    it up, the predictor chooses, among the best ones brought to the limit and what switching
    units and mixing them gives, round after round.

    Args:
        pool: What draws candidates inside the budget.
        known: What the earlier run found, in rows of this search.
        rng: Draws the switches.
    """
    levels, methods = pool.encoding.split(known.best(_BEGUN))
    belief = Forecaster(pool).belief(known)
    as_it_is = np.array_equal(pool.projection.project_row(levels[0]), levels[0])
    if belief is None or as_it_is:  # too few scores to expect anything, or it was measured
        return pool.encoding.join(levels[0], methods[0])
    rows = pool.encoding.join(pool.nearest(levels), methods)
    for _ in range(_ROUNDS):
        best = rows[np.argsort(belief.expected(rows), kind="stable")[:_KEPT]]
        switched, crossed = pool.switched(best, rng, _DRAWN), pool.crossed(best, rng, _DRAWN)
        rows = np.unique(np.concatenate([best, switched, crossed]), axis=0)
    found: Rows = rows[np.argmin(belief.expected(rows))]
    return found
