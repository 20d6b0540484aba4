"""Costs as a person reads them."""

from autoprune.core.costs import LATENCY, part_of

_NAMES = {
    **{"macs": "MACs", "params": "parameters", "size": "file size"},
    **{"memory": "activation memory", "sparse_macs": "MACs without zero weights"},
    "sparse_size": "size without zeros",
}


def cost_name(cost: str) -> str:
    """Return the name of a cost in a sentence: ``MACs``, ``parameters in visual``."""
    part = part_of(cost)
    if part is not None:
        return f"{_NAMES[part[0]]} in {part[1]}"
    if cost.startswith(LATENCY):
        return f"latency on {cost.removeprefix(LATENCY)}"
    return _NAMES.get(cost, cost)
