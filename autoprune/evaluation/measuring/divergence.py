"""How far the outputs of one model are from another's."""

import torch
from torch.nn.functional import kl_div, log_softmax


def divergence(
    logits: torch.Tensor, dense: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return the mean divergence (Kullback and Leibler) of softmaxed logits from the dense ones.

    With a temperature both are softened and the result is multiplied by its square, so that
    gradients keep their size: Hinton et al. 2015, arXiv:1503.02531.

    Args:
        logits: Of the candidate, ``... x classes``; gradients flow through them.
        dense: Of the dense model, the same shape.
        temperature: What both are divided by.

    Returns:
        A scalar in nats, at least 0 but for rounding.
    """
    ours, theirs = (
        log_softmax(one.float() / temperature, -1).flatten(0, -2) for one in (logits, dense)
    )
    found = kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return found * temperature**2
