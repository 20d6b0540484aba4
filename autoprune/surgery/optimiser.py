"""The state of an optimiser, cut along with the model it trains."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autoprune.errors import ModelError
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.apply import Edit, cutter
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.units import Cut

# What PyTorch keeps for itself on any optimiser; it comes back when the copy is used.
_OF_TORCH = {"_zero_grad_profile_name", "_warned_capturable_if_run_uncaptured"}


def sliced_optimiser(
    optimiser: Optimizer, dense: nn.Module, pruned: nn.Module, cut: Cut
) -> Optimizer:
    """Return an optimiser like ``optimiser`` for the pruned model, with its state cut along.

    Args:
        optimiser: Trains parameters of ``dense``; it is left as it is.
        dense: The model before the cut.
        pruned: The model after it.
        cut: What was cut (``plan.cut(atoms)``).

    Raises:
        ModelError: If the optimiser trains parameters of another model, or keeps a state that has
            not the form of its parameter (factored moments), which cannot be cut.
    """
    dense, pruned = unwrapped(dense), unwrapped(pruned)
    names = {id(parameter): name for name, parameter in dense.named_parameters()}
    targets = dict(pruned.named_parameters())
    twin = _blank(optimiser)
    for group in optimiser.param_groups:
        named = [(_name(names, parameter), parameter) for parameter in group["params"]]
        kept = [(name, parameter) for name, parameter in named if not cut.drops(name)]
        own = {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
        if "param_names" in own:
            pairs = zip(named, own["param_names"], strict=True)
            own["param_names"] = [given for (name, _), given in pairs if not cut.drops(name)]
        params = [_target(targets, name) for name, _ in kept]
        twin.param_groups.append({"params": params, **own})
        for name, parameter in kept:
            if parameter in optimiser.state:
                edit = cutter(cut.positions.get(name, {}))
                old = optimiser.state[parameter]
                twin.state[targets[name]] = _sliced(name, parameter, old, edit)
    _forget_zeros(twin, pruned, targets)
    return twin


def _blank(optimiser: Optimizer) -> Optimizer:
    """Return a copy without parameters and state."""
    twin = copy.copy(optimiser)
    lost = vars(optimiser).keys() - vars(twin).keys() - _OF_TORCH
    if any(not name.startswith("_optimizer_") for name in lost):
        raise ModelError(
            f"{type(optimiser).__name__} keeps attributes of its own ({', '.join(sorted(lost))}), "
            "which cannot be carried over. Start a fresh optimiser for the pruned model."
        )
    twin.param_groups, twin.state = [], defaultdict(dict)
    return twin


def _forget_zeros(
    optimiser: Optimizer, pruned: nn.Module, targets: Mapping[str, nn.Parameter]
) -> None:
    """Clear the state of weights kept at zero: old momentum would move them."""
    for name in kept_at_zero(pruned):
        state = optimiser.state.get(targets[name], {})
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == targets[name].shape:
                state[key] = value * (targets[name].detach() != 0)


def _target(targets: Mapping[str, nn.Parameter], name: str) -> nn.Parameter:
    if name not in targets:
        raise ModelError(
            f"The pruned model lacks the parameter {name!r}, which was not cut. Give the model "
            "that this cut was made in."
        )
    return targets[name]


def _name(names: Mapping[int, str], parameter: torch.Tensor) -> str:
    if id(parameter) not in names:
        raise ModelError(
            f"The optimiser trains a parameter of shape {tuple(parameter.shape)} that the dense "
            "model does not have. Give the model that this optimiser was made for."
        )
    return names[id(parameter)]


def _sliced(
    name: str, parameter: torch.Tensor, state: Mapping[str, Any], edit: Edit
) -> dict[str, Any]:
    cut: dict[str, Any] = {}
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
            cut[key] = edit(value).clone()
        elif not isinstance(value, torch.Tensor) or value.numel() == 1:
            cut[key] = copy.deepcopy(value)
        else:
            raise ModelError(
                f"The optimiser's state {key!r} of {name!r} has shape {tuple(value.shape)}, not "
                f"its parameter's {tuple(parameter.shape)}, and cannot be cut along. Start a "
                "fresh optimiser for the pruned model."
            )
    return cut
