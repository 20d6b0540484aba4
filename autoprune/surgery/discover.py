"""Trace, solve and verify: from a model and example inputs to a plan that can be trusted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.utils._pytree import tree_map_only

from autoprune.errors import ModelError
from autoprune.surgery.blocks import block_units
from autoprune.surgery.compare import outputs
from autoprune.surgery.plan import Plan
from autoprune.surgery.solve import solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace
from autoprune.surgery.verify import Verifier
from autoprune.surgery.weights import weight_units


def discover(model: nn.Module, inputs: Sequence[Any], rng: np.random.Generator) -> Plan:
    """Return the verified plan of ``model``.

    Args:
        model: The dense model; it is neither changed nor kept.
        inputs: Positional arguments of one forward, tensors batched along axis 0.
        rng: Source of the random masks of the verification.

    Raises:
        ModelError: If the forward raises, gives values that are not finite, or nothing in the
            model can be pruned.
    """
    if not all(torch.isfinite(x).all() for x in outputs_or_error(model, inputs)):
        raise ModelError(
            "The dense model's outputs hold NaN or infinite values on the first batch. "
            "Check the checkpoint and the normalisation of the data."
        )
    found = plan_of(model, inputs)
    plan = Verifier(model, found, [inputs, _larger(inputs)], rng).verified()
    if not plan.units:
        raise ModelError(f"Nothing in this model can be pruned. {_why(plan)}")
    return plan


def plan_of(model: nn.Module, inputs: Sequence[Any]) -> Plan:
    """Return the plan of ``model``, not verified; see `discover`."""
    records = [trace(model, inputs)]
    for rank in range(1, records[0].axes):
        records.append(trace(model, inputs, rank))
    blocks = block_units(records[0].flow, model)
    plan = solve(records, state_tensors(model), _batch(inputs), blocks)
    return replace(plan, weights={unit.name: unit for unit in weight_units(model)})


def outputs_or_error(model: nn.Module, inputs: Sequence[Any]) -> list[torch.Tensor]:
    """Return the outputs of the dense model; raises `ModelError` if its forward raises."""
    try:
        return outputs(model, inputs)
    except Exception as err:  # the user's forward may raise anything
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs if isinstance(x, torch.Tensor))
        raise ModelError(
            f"The model's forward raised {type(err).__name__} on inputs of shape {shapes}: {err} "
            "Check that the data yields what the model takes."
        ) from err


def _batch(inputs: Sequence[Any]) -> int:
    return next((x.shape[0] for x in inputs if isinstance(x, torch.Tensor) and x.ndim), 1)


def _larger(inputs: Sequence[Any]) -> Sequence[Any]:
    """Return the inputs with images half as large again, to catch sizes written into code."""

    def grow(x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4 and x.is_floating_point():
            return interpolate(x, scale_factor=1.5, mode="nearest")
        return x

    return [tree_map_only(torch.Tensor, grow, x) for x in inputs]


def _why(plan: Plan) -> str:
    reasons = [*plan.rejected.values(), *plan.sealed.values()]
    counted = sorted({r: reasons.count(r) for r in reasons}.items(), key=lambda item: -item[1])
    return "Most frequent reasons: " + "; ".join(f"{r} ({n})" for r, n in counted[:3]) + "."
