"""How far the outputs of a model are from the dense model's, for tasks without a loss."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from autoprune.errors import ConfigError
from autoprune.surgery.nested import floats_in

_TINY = 1e-12


def imitation(outputs: Any, dense: Any) -> Tensor:
    """Return how far outputs are from the dense ones, as Huber's loss of their difference.

    Each is divided by the root mean square of the dense one first, so that outputs of any size
    count alike, and a few that are far off do not drive training apart. Regression of a teacher's
    outputs: Ba and Caruana 2014, arXiv:1312.6184.

    Args:
        outputs: Of the candidate; gradients flow through them.
        dense: Of the dense model.

    Raises:
        ConfigError: If they have no floating-point tensors of the same shapes.
    """
    ours, theirs = floats_in(outputs), floats_in(dense)
    if not ours or [x.shape for x in ours] != [x.shape for x in theirs]:
        raise ConfigError(
            "A task without a loss teaches a pruned model to give what the dense one gives, and "
            "the model's outputs in training and in eval mode differ in form: "
            f"{[tuple(x.shape) for x in ours]} and {[tuple(x.shape) for x in theirs]}. Give the "
            "task a loss."
        )
    sizes = [other.float().square().mean().sqrt().clamp_min(_TINY) for other in theirs]
    gaps = [
        smooth_l1_loss(one.float() / size, other.float() / size)
        for one, other, size in zip(ours, theirs, sizes, strict=True)
    ]
    return torch.stack(gaps).mean()
