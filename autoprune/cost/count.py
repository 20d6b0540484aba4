"""Costs counted on a real model, to hold the cost model to its word."""

from torch import nn

from autoprune.core.costs import Costs
from autoprune.cost.model import CostModel
from autoprune.surgery.nested import Inputs
from autoprune.surgery.solve import solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace


def count_costs(model: nn.Module, inputs: Inputs, batch: int) -> Costs:
    """Return what ``model`` costs as it is, from a fresh trace on ``batch`` samples.

    Raises:
        ModelError: If the forward raises.
    """
    return CostModel(model, solve([trace(model, inputs)], state_tensors(model), batch)).dense
