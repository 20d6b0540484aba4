"""Single weights set to zero, and kept at zero through fine-tuning, copies and export."""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import ref

import torch
from torch import nn

from autoprune.errors import ModelError

Masks = Mapping[str, torch.Tensor]


def unstructured_masks(scores: Masks, sparsity: float) -> dict[str, torch.Tensor]:
    """Return which elements stay: all but the lowest ``round(sparsity * elements)`` of all.

    Tensors that are given together share one threshold; of equal scores the first go first.

    Args:
        scores: A score for each element, by tensor.
        sparsity: Share of the elements that goes, in ``[0, 1]``.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = torch.ones(len(flat), dtype=torch.bool, device=flat.device)
    kept[torch.argsort(flat, stable=True)[: round(sparsity * len(flat))]] = False
    parts = kept.split([score.numel() for score in scores.values()])
    return {n: part.view_as(scores[n]) for n, part in zip(scores, parts, strict=True)}


def n_m_mask(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Return which elements stay: of each ``m`` in a row along dimension 1 the best ``n``.

    Rows are input channels, as sparse tensor cores want them (Mishra et al. 2021,
    arXiv:2104.08378). A shorter last group stays whole; of equal scores the last stay.

    Args:
        scores: A score for each element of a weight, ``out x in x ...``.
        n: How many of each group stay.
        m: Size of the groups.
    """
    rows = scores.movedim(1, -1)
    whole = rows.shape[-1] // m * m
    groups = rows[..., :whole].unflatten(-1, (-1, m))
    order = torch.argsort(groups, dim=-1, stable=True)
    kept = torch.ones_like(groups, dtype=torch.bool)
    kept.scatter_(-1, order[..., : m - n], False)
    rest = torch.ones_like(rows[..., whole:], dtype=torch.bool)
    return torch.cat([kept.flatten(-2), rest], -1).movedim(-1, 1).contiguous()


def set_to_zero(model: nn.Module, masks: Masks) -> None:
    """Set what the masks do not keep to zero, in place, and keep it there.

    Raises:
        ModelError: If there is no such parameter or a mask has another shape.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            found = tuple(parameters[name].shape) if name in parameters else "no such parameter"
            raise ModelError(
                f"A mask of shape {tuple(mask.shape)} was given for {name!r}: {found}. "
                "Make the masks for this model."
            )
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask.to(parameters[name].device))
    keep_zeros(model, masks)


def keep_zeros(model: nn.Module, names: Iterable[str]) -> None:
    """Keep the elements of the named parameters at zero that are zero now.

    Whoever trains the model: their gradients are zero from the next forward on, so SGD with
    momentum and weight decay, Adam and their like leave them as they are. The state dict stays
    as it is, copies keep zeros too. A fresh optimiser is needed, one without old momentum.
    """
    for number, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, ZeroKeeper):
            del model._forward_pre_hooks[number]
    masks = {name: model.get_parameter(name).detach() != 0 for name in names}
    if masks:
        model.register_forward_pre_hook(ZeroKeeper(masks))


def kept_at_zero(model: nn.Module) -> list[str]:
    """Return the names of the parameters that have elements kept at zero."""
    keepers = [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, ZeroKeeper)]
    return [name for keeper in keepers for name in keeper.masks]


class ZeroKeeper:
    """A forward hook of the whole model that has gradients of masked elements zeroed.

    It finds the parameters anew in each training forward, since copying a model or moving it
    can put others in their place.

    Args:
        masks: Which elements may change, by parameter.
    """

    def __init__(self, masks: Masks) -> None:
        self.masks = dict(masks)
        self._held: dict[str, ref[torch.Tensor]] = {}

    def __call__(self, model: nn.Module, _: Any) -> None:
        """Put a hook on every parameter that has none yet."""
        if torch.compiler.is_exporting() or not torch.is_grad_enabled():
            return
        self._hold(model)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _hold(self, model: nn.Module) -> None:
        for name, mask in self.masks.items():
            parameter = model.get_parameter(name)
            held = self._held.get(name)
            if parameter.requires_grad and (held is None or held() is not parameter):
                parameter.register_hook(lambda grad, mask=mask: grad * mask.to(grad.device))
                self._held[name] = ref(parameter)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ZeroKeeper":
        return ZeroKeeper({name: mask.clone() for name, mask in self.masks.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {"masks": self.masks, "_held": {}}
