"""What surgery takes: eager models, unwrapped, beside inputs on the same device."""

import re
import warnings
from textwrap import shorten

import torch
from torch import nn

from autoprune.errors import ModelError
from autoprune.surgery.nested import Inputs, arguments, describe, tensors_in
from autoprune.surgery.tensors import state_tensors

_WRAPPERS = ("DistributedDataParallel", "DataParallel")
_QUANTISED = re.compile(r"torch(ao)?\..*\bquantized\b")


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside ``DistributedDataParallel``, ``torch.compile`` and the like."""
    while True:
        kind = type(model)
        if kind.__module__.startswith("torch.") and kind.__name__ in _WRAPPERS:
            inner = model.module
        elif hasattr(model, "_orig_mod"):
            inner = model._orig_mod
        else:
            return model
        assert isinstance(inner, nn.Module)
        model = inner


def taken_out(model: nn.Module) -> nn.Module:
    """Return the model without its wrapper, and warn if it had one.

    Raises:
        ModelError: If it is no module, for instance the function that builds one.
    """
    if not isinstance(model, nn.Module):
        name, kind = getattr(model, "__name__", None), type(model).__name__
        given = f"{name!r} of type {kind}" if name else kind
        raise ModelError(
            f"The model must be a torch.nn.Module. Got {given}. "
            "If it builds the model, call it first. An exported program or a state dict cannot be "
            "pruned: give the module it came from."
        )
    inner = unwrapped(model)
    if inner is not model:
        warnings.warn(
            f"The model comes in a {type(model).__name__}; autoprune works on the module inside "
            "and returns it without the wrapper. Wrap the pruned model anew.",
            stacklevel=3,
        )
    return inner


def accepted(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """Return the model without wrappers, and the inputs as positional or keyword arguments.

    Raises:
        ModelError: If it is no eager model that PyTorch runs op by op, or the inputs are
            elsewhere.
    """
    inner = taken_out(model)
    _check_form(inner)
    inputs = arguments(inputs)
    _check_devices(inner, inputs)
    return inner, inputs


def forward_error(err: Exception, inputs: Inputs) -> ModelError:
    """Return what is told where the user's forward raised ``err`` on ``inputs``."""
    given = describe(inputs)
    images = " If the images are uint8, convert them first: v2.ToDtype(torch.float32, scale=True)."
    return ModelError(
        f"The model's forward raised {type(err).__name__} on inputs {given}: "
        f"{shorten(str(err), 300)}. Check that it takes such inputs: they are a tuple of its "
        "arguments, so for one argument that is a dict or a list write (argument,)."
        f"{images if 'uint8' in given else ''}"
    )


def _check_form(model: nn.Module) -> None:
    for name, module in model.named_modules():
        place = f" (in {name!r})" if name else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"The model{place} is TorchScript, whose ops and sizes are frozen. "
                "Give the eager module it was scripted or traced from."
            )
        if type(module).__name__ == "FullyShardedDataParallel":
            raise ModelError(
                f"The model{place} is sharded (FullyShardedDataParallel): no process holds whole "
                "tensors. Gather it into a plain module first."
            )
        if _QUANTISED.match(type(module).__module__):
            raise ModelError(
                f"The model{place} is quantised: {type(module).__name__}. "
                "Prune the floating-point model first, then quantise the result."
            )
    if any(tensor.is_quantized for tensor in state_tensors(model).values()):
        raise ModelError(
            "The model holds quantised tensors. Prune the floating-point model first, then "
            "quantise the result."
        )


def _check_devices(model: nn.Module, inputs: Inputs) -> None:
    own = {str(tensor.device) for tensor in state_tensors(model).values()}
    given = {str(tensor.device) for tensor in tensors_in(inputs)}
    if not own:
        raise ModelError("The model has no parameters: there is nothing to prune.")
    if "meta" in own:
        raise ModelError(
            "The model is on the meta device: it has shapes but no weights. Load its weights."
        )
    if not given:
        raise ModelError(f"The inputs must hold tensors for one forward. Got {describe(inputs)}.")
    if not given <= own:
        raise ModelError(
            f"The model is on {', '.join(sorted(own))}, the inputs are on "
            f"{', '.join(sorted(given))}. Move them to the same device."
        )
