"""The first proposals: plain allocations every search should have tried."""

from collections.abc import Mapping
from typing import Any

from autoprune.space.schema import UnitSpace
from autoprune.surgery.plan import Plan

Params = dict[str, Any]


def anchors(plan: Plan, spaces: Mapping[str, UnitSpace]) -> list[Params]:
    """Return uniform allocations, and ones that spare units coupled over several layers.

    Each comes once per method that any unit may use. Residual streams are such coupled units:
    good policies keep them wide, and random draws rarely do. Blocks and single weights stay.
    """
    methods = sorted({method for space in spaces.values() for method in space.methods})
    return [_params(plan, spaces, method, spared) for spared in (1.0, 0.25) for method in methods]


def _params(plan: Plan, spaces: Mapping[str, UnitSpace], method: str, spared: float) -> Params:
    params: Params = {}
    whole = plan.of("block").keys() | plan.weights.keys()
    for name, space in spaces.items():
        share = 0.5 * (spared if coupled(plan, name) else 1.0) * (name not in whole)
        aim = space.atoms * (1 - share)
        level = min(range(space.levels), key=lambda at: abs(space.kept[at] - aim))
        params[f"level:{name}"] = level
        if len(space.methods) > 1:
            params[f"method:{name}"] = method if method in space.methods else space.methods[0]
    return params


def coupled(plan: Plan, unit: str) -> bool:
    """Tell whether the filters of several dense layers make one atom together."""
    found = plan.units.get(unit)
    shapes = [plan.shapes[part.tensor] for part in found.makers] if found else []
    return sum(len(shape) > 1 and shape[1] > 1 for shape in shapes) > 1
