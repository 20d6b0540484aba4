"""The state of an optimiser, cut along with the model it trains."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autoprune.errors import ModelError
from autoprune.surgery.apply import Edit, cutter
from autoprune.surgery.units import Cut


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
    names = {id(parameter): name for name, parameter in dense.named_parameters()}
    targets = dict(pruned.named_parameters())
    twin = copy.copy(optimiser)
    twin.param_groups, twin.state = [], defaultdict(dict)
    for group in optimiser.param_groups:
        named = [(_name(names, parameter), parameter) for parameter in group["params"]]
        kept = [(name, parameter) for name, parameter in named if name in targets]
        own = {key: copy.deepcopy(value) for key, value in group.items() if key != "params"}
        twin.param_groups.append({"params": [targets[name] for name, _ in kept], **own})
        for name, parameter in kept:
            if parameter in optimiser.state:
                edit = cutter(cut.positions.get(name, {}))
                old = optimiser.state[parameter]
                twin.state[targets[name]] = _sliced(name, parameter, old, edit)
    return twin


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
        if not isinstance(value, torch.Tensor) or value.numel() == 1 != parameter.numel():
            cut[key] = copy.deepcopy(value)
        elif value.shape == parameter.shape:
            cut[key] = edit(value).clone()
        else:
            raise ModelError(
                f"The optimiser's state {key!r} of {name!r} has shape {tuple(value.shape)}, not "
                f"its parameter's {tuple(parameter.shape)}, and cannot be cut along. Start a "
                "fresh optimiser for the pruned model."
            )
    return cut
