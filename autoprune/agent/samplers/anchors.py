"""The first proposals: allocations every search should have tried."""

from collections.abc import Mapping, Sequence

from autoprune.agent.feasible.allocation import Allocator
from autoprune.agent.feasible.encoding import Encoding, Params
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.pool import Pool
from autoprune.core.arrays import Floats
from autoprune.space.schema import UnitSpace
from autoprune.surgery.plan import Plan

# Errors add up only roughly: to a power, many small cuts or few deep ones look better.
_POWERS = (1.0, 0.5, 2.0)
_SPARED = (1.0, 0.25)  # share of the others' sparsity that coupled units get


def anchors(plan: Plan, spaces: Mapping[str, UnitSpace]) -> list[Params]:
    """Return uniform allocations, and ones that spare units coupled over several layers.

    Each comes once per method that any unit may use. Residual streams are such coupled units:
    good policies keep them wide, and random draws rarely do. Blocks and single weights stay.
    """
    methods = sorted({method for space in spaces.values() for method in space.methods})
    return [_params(plan, spaces, method, spared) for spared in _SPARED for method in methods]


def first_proposals(plan: Plan, projection: Projection, errors: Floats | None) -> list[Params]:
    """Return what a search begins with: `allocations` where errors were measured, else `anchors`.

    Args:
        plan: What surgery may do.
        projection: What is feasible.
        errors: What is given up, ``units x methods x levels``; None where nothing was measured.
    """
    if errors is None:
        return anchors(plan, projection.spaces)
    return allocations(plan, projection, errors)


def allocations(plan: Plan, projection: Projection, errors: Floats) -> list[Params]:
    """Return what gives up least by the sensitivity table, the best first.

    Dynamic programming at several powers of the errors, minimax, then `anchors` with the method
    that gives up least for each unit.

    Args:
        plan: What surgery may do.
        projection: What is feasible.
        errors: What is given up, ``units x methods x levels``.
    """
    encoding = Encoding(projection.spaces)
    pool, allocator = Pool(projection, encoding, errors), Allocator(projection)
    found = [allocator.spdy([own**power for own in pool.least]) for power in _POWERS]
    found.append(allocator.minimax(pool.least))
    plain = [_params(plan, projection.spaces, "", spared) for spared in _SPARED]
    found += [projection.project_row(encoding.split(encoding.wish(p))[0]) for p in plain]
    rows = [encoding.join(levels, pool.best_methods(levels)) for levels in found]
    return _distinct([encoding.params(row) for row in rows])


def _params(plan: Plan, spaces: Mapping[str, UnitSpace], method: str, spared: float) -> Params:
    params: Params = {}
    whole = plan.of("block").keys() | plan.weights.keys()
    for name, space in spaces.items():
        share = 0.5 * (spared if coupled(plan, name) else 1.0) * (name not in whole)
        params[f"level:{name}"] = space.nearest(share)
        if len(space.methods) > 1:
            params[f"method:{name}"] = method if method in space.methods else space.methods[0]
    return params


def _distinct(many: Sequence[Params]) -> list[Params]:
    return list({tuple(sorted(params.items())): params for params in many}.values())


def coupled(plan: Plan, unit: str) -> bool:
    """Tell whether the filters of several dense layers make one atom together."""
    found = plan.units.get(unit)
    shapes = [plan.shapes[part.tensor] for part in found.makers] if found else []
    return sum(len(shape) > 1 and shape[1] > 1 for shape in shapes) > 1
