"""Trace, solve and verify: from a model and example inputs to a plan that can be trusted."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.modules.conv import _ConvNd

from autoprune.errors import ModelError
from autoprune.surgery.accept import accepted, forward_error
from autoprune.surgery.blocks import block_units
from autoprune.surgery.compare import outputs
from autoprune.surgery.nested import Inputs, map_tensors, tensors_in
from autoprune.surgery.plan import Plan
from autoprune.surgery.solve import solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace
from autoprune.surgery.verify import Verifier
from autoprune.surgery.weights import weight_units


def discover(model: nn.Module, inputs: Inputs, rng: np.random.Generator) -> Plan:
    """Return the verified plan of ``model``.

    Args:
        model: The dense model; it is neither changed nor kept. A wrapper around it, such as
            ``DistributedDataParallel``, is left aside with a warning.
        inputs: Positional arguments of one forward, or a mapping of keyword arguments, nested as
            the model likes; tensors are batched along axis 0.
        rng: Source of the random masks of the verification.

    Raises:
        ModelError: If the model is TorchScript or quantised, the forward raises or gives values
            that are not finite, or nothing in the model can be pruned.
    """
    model, inputs = accepted(model, inputs)
    device = next(tensors_in(inputs)).device.type
    with torch.autocast(device, enabled=False):
        return _discovered(model, inputs, rng)


def _discovered(model: nn.Module, inputs: Inputs, rng: np.random.Generator) -> Plan:
    if not all(torch.isfinite(x).all() for x in outputs_or_error(model, inputs)):
        raise ModelError(
            "The dense model's outputs hold NaN or infinite values on the first batch. "
            "Check the checkpoint and the normalisation of the data."
        )
    found = plan_of(model, inputs)
    plan = Verifier(model, found, [inputs, _larger(inputs)], rng).verified()
    if not plan.units:
        raise ModelError(f"Nothing in this model can be pruned. {_why(plan, model)}")
    return plan


def plan_of(model: nn.Module, inputs: Inputs) -> Plan:
    """Return the plan of ``model``, not verified; see `discover`."""
    records = [trace(model, inputs)]
    for rank in range(1, records[0].axes):
        records.append(trace(model, inputs, rank))
    blocks = block_units(records[0].flow, model)
    plan = solve(records, state_tensors(model), _batch(inputs), blocks)
    return replace(plan, weights={unit.name: unit for unit in weight_units(model)})


def outputs_or_error(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    """Return the outputs of the dense model; raises `ModelError` if its forward raises."""
    try:
        return outputs(model, inputs)
    except Exception as err:  # the user's forward may raise anything
        raise forward_error(err, inputs) from err


def _batch(inputs: Inputs) -> int:
    """Return the samples of a batch; a list of images holds as many as it is long."""
    first = next(iter(inputs.values() if isinstance(inputs, Mapping) else inputs), None)
    if isinstance(first, list):
        return len(first)
    return next((x.shape[0] for x in tensors_in(inputs) if x.ndim), 1)


def _larger(inputs: Inputs) -> Inputs:
    """Return the inputs with images half as large again, to catch sizes written into code."""

    def grow(x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4 and x.is_floating_point():
            return interpolate(x, scale_factor=1.5, mode="nearest")
        return x

    larger: Inputs = map_tensors(grow, inputs)
    return larger


def _why(plan: Plan, model: nn.Module) -> str:
    # Kernels of convolutions are no channels: nobody wants to know that they are not pruned.
    convolutions = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, _ConvNd)}
    kernels = {
        f"{name}[{dim}]"
        for name, shape in plan.shapes.items()
        for dim in range(2, len(shape))
        if name in convolutions
    }
    sealed = [why for place, why in plan.sealed.items() if place not in kernels]
    reasons = [*plan.rejected.values(), *sealed]
    counted = sorted({r: reasons.count(r) for r in reasons}.items(), key=lambda item: -item[1])
    return "Most frequent reasons: " + "; ".join(f"{r} ({n})" for r, n in counted[:3]) + "."
