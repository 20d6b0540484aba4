"""Costs counted on a real model, to hold the cost model to its word."""

from collections.abc import Iterable

from torch import nn

from autoprune.core.costs import Costs
from autoprune.cost.model import CostModel
from autoprune.surgery.nested import Inputs
from autoprune.surgery.solve import solve
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace


def count_costs(model: nn.Module, inputs: Inputs, batch: int, parts: Iterable[str] = ()) -> Costs:
    """Return what ``model`` costs as it is, from a fresh trace on ``batch`` samples.

    Single modules' costs are counted as well where ``parts`` names them, like ``macs@visual``.
    Weights that are kept at zero do not count as ``sparse_macs`` and ``sparse_size``.

    Raises:
        ModelError: If the forward raises.
    """
    plan = solve([trace(model, inputs)], state_tensors(model), batch)
    own = {name: model.get_parameter(name).detach() for name in kept_at_zero(model)}
    density = {name: float((p != 0).double().mean()) for name, p in own.items()}
    return CostModel(model, plan, density=density, parts=parts).dense
