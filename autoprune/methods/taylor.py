"""First-order Taylor: atoms whose removal changes the loss least go first."""

import torch

from autoprune.methods.base import METHODS, Tensors, per_atom, summed
from autoprune.surgery.units import Unit


class Taylor:
    """Size of the first-order change of the loss when an atom's activation is set to zero.

    What reads an atom is linear in it, so ``sum(a * dL/da)`` over a batch equals
    ``sum(w * dL/dw)`` over the weights that read it: exact, and no activation is kept.
    """

    needs_gradients = True
    paper = (
        "Molchanov et al. 2017, Pruning Convolutional Neural Networks for Resource Efficient "
        "Inference, arXiv:1611.06440. Ours takes the absolute value per batch, not per sample, "
        "and sums over all readers of an atom before it."
    )

    def score(self, unit: Unit, weights: Tensors, gradients: Tensors) -> torch.Tensor:
        """Return ``|dL|`` per atom for one batch, shape ``[atoms]``; see `Criterion.score`."""
        known = [part for part in unit.readers if part.tensor in gradients]
        changes = [per_atom(weights[p.tensor] * gradients[p.tensor], p) for p in known]
        return summed(changes, unit.atoms).abs()


METHODS.add("channel.taylor", Taylor())
