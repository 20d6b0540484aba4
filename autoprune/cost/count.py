"""Costs counted on a real model, to hold the cost model to its word."""

from collections.abc import Iterable, Mapping

from torch import nn

from autoprune.core.costs import Costs
from autoprune.cost.model import CostModel
from autoprune.surgery.ids import Ids
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan
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
    return CostModel(model, plan, density=_density(model), parts=parts).dense


def costs_of_cut(
    model: nn.Module,
    dense: nn.Module,
    plan: Plan,
    atoms: Mapping[str, Ids],
    parts: Iterable[str] = (),
) -> Costs:
    """Return what ``model`` costs where the course of a forward depends on the values in it.

    A detector computes on as many proposals as it makes, whose number changes with every weight:
    the count is for as many as the dense model made when it was traced.

    Args:
        model: What was cut.
        dense: The dense model.
        plan: Its plan.
        atoms: Numbers of the atoms that were removed, by unit.
        parts: Costs of single modules, see above.
    """
    kept = {unit: plan.units[unit].atoms - len(gone) for unit, gone in atoms.items()}
    return CostModel(dense, plan, density=_density(model), parts=parts).price(kept)


def _density(model: nn.Module) -> dict[str, float]:
    own = {name: model.get_parameter(name).detach() for name in kept_at_zero(model)}
    return {name: float((p != 0).double().mean()) for name, p in own.items()}
