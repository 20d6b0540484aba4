"""Where a model keeps its logits: they are its output, or one part of it that has a name."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import nn

from autoprune.surgery.nested import Inputs, call

NAMES = ("logits", "out")  # Hugging Face and torchvision; torchvision's segmentation models
AUXILIARY = 0.3  # of each auxiliary loss: Szegedy et al. 2014, arXiv:1409.4842


def logits_of(outputs: Any) -> torch.Tensor | None:
    """Return the logits in what a model gave, None if there is no telling which they are.

    They are the tensor that the model gave, or what is called ``logits`` or ``out`` in a mapping,
    a named tuple or a dataclass.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    parts = _named(outputs)
    found = next((parts[name] for name in NAMES if name in parts), None)
    return found if isinstance(found, torch.Tensor) else None


def auxiliary_of(outputs: Any) -> list[torch.Tensor]:
    """Return the logits of auxiliary heads, of as many classes, with a name in ``aux...``."""
    logits = logits_of(outputs)
    if logits is None:
        return []
    return [
        part
        for name, part in _named(outputs).items()
        if str(name).startswith("aux")
        and isinstance(part, torch.Tensor)
        and part.shape[:2] == logits.shape[:2]
    ]


def run_for_logits(model: nn.Module, inputs: Inputs) -> Any:
    """Run the model, in the mode it is in, and return its logits, if they can be found.

    In training, a model with auxiliary heads returns all that it gave, for `total_loss`.
    """
    outputs = call(model, inputs)
    logits = logits_of(outputs)
    if logits is None or (model.training and auxiliary_of(outputs)):
        return outputs
    return logits


def total_loss(
    loss: Callable[[torch.Tensor], torch.Tensor], outputs: Any, weight: float = AUXILIARY
) -> torch.Tensor:
    """Return the loss of the logits, and ``weight`` times that of each auxiliary head's.

    Args:
        loss: Gives the loss of logits.
        outputs: What `run_for_logits` returned, with logits in it.
        weight: Of each auxiliary head.
    """
    logits = logits_of(outputs)
    assert logits is not None
    return loss(logits) + sum(weight * loss(other) for other in auxiliary_of(outputs))


def _named(outputs: Any) -> Mapping[str, Any]:
    """Return the parts of an output by name; none where they have no names."""
    if isinstance(outputs, Mapping):
        return outputs
    if isinstance(outputs, tuple) and hasattr(outputs, "_asdict"):
        named: dict[str, Any] = outputs._asdict()
        return named
    if is_dataclass(outputs) and not isinstance(outputs, type):
        return {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return getattr(outputs, "__dict__", {})
