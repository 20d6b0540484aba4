"""Every policy that a projected sampler can propose: inside the budget, with no slack left."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import numpy.typing as npt

from autoprune.agent.feasible.projection import Projection
from autoprune.core.policy import Policy
from autoprune.space.schema import UnitSpace

Codes = npt.NDArray[np.uint8]


def maximal(projection: Projection) -> tuple[Codes, Codes]:
    """Return levels and method codes, both ``policies x units``.

    A code is the place of a method in its unit's list, and 0 where the unit is untouched. Levels
    are maximal: lowering any one by a step leaves the budget.
    """
    levels = _maximal_levels(projection)
    counts = [len(space.methods) for space in projection.spaces.values()]
    rows = [
        (row, codes)
        for row in levels
        for codes in product(*(range(n if at else 1) for n, at in zip(counts, row, strict=True)))
    ]
    return (
        np.array([row for row, _ in rows], np.uint8),
        np.array([codes for _, codes in rows], np.uint8),
    )


def _maximal_levels(projection: Projection) -> npt.NDArray[np.int64]:
    spaces = projection.spaces
    shape = tuple(space.levels for space in spaces.values())
    rows = np.indices(shape).reshape(len(shape), -1).T
    kept = np.repeat(projection.cost.row({}), len(rows), axis=0)
    for number, (unit, space) in enumerate(spaces.items()):
        kept[:, projection.cost.column(unit)] = np.array(space.kept)[rows[:, number]]
    costs = projection.cost.price_many(kept)
    limits = projection.budget.resolve(projection.cost.dense)
    inside = np.all([costs[cost] <= limit for cost, limit in limits.items()], axis=0)
    cube = inside.reshape(shape)
    slack = np.zeros_like(cube)
    for axis in range(len(shape)):
        lower, upper = (
            (slice(None),) * axis + (slice(-1),),
            (slice(None),) * axis + (slice(1, None),),
        )
        slack[upper] |= cube[lower]
    found: npt.NDArray[np.int64] = rows[(cube & ~slack).ravel()]
    return found


def policy_of(spaces: Mapping[str, UnitSpace], levels: Codes, codes: Codes) -> Policy:
    """Return the policy of one row of `maximal`."""
    items = zip(spaces.items(), levels, codes, strict=True)
    return Policy({unit: s.choice(s.methods[code], int(at)) for (unit, s), at, code in items})
