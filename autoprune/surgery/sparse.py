"""Single weights set to zero, and kept at zero through fine-tuning, copies and export."""

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.utils.hooks import RemovableHandle

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


def n_m_mask(scores: torch.Tensor, n: int, m: int, dim: int = 1) -> torch.Tensor:
    """Return which elements stay: of each ``m`` in a row along a dimension the best ``n``.

    Rows are input channels, as sparse tensor cores want them (Mishra et al. 2021,
    arXiv:2104.08378). A shorter last group stays whole; of equal scores the last stay.

    Args:
        scores: A score for each element of a weight.
        n: How many of each group stay.
        m: Size of the groups.
        dim: Dimension of the input channels, see `input_dim`.
    """
    rows = scores.movedim(dim, -1)
    whole = rows.shape[-1] // m * m
    groups = rows[..., :whole].unflatten(-1, (-1, m))
    order = torch.argsort(groups, dim=-1, stable=True)
    kept = torch.ones_like(groups, dtype=torch.bool)
    kept.scatter_(-1, order[..., : m - n], False)
    rest = torch.ones_like(rows[..., whole:], dtype=torch.bool)
    return torch.cat([kept.flatten(-2), rest], -1).movedim(-1, dim).contiguous()


def input_dim(model: nn.Module, name: str) -> int:
    """Return the dimension of a weight along which its input channels lie."""
    module, _, _ = name.rpartition(".")
    return 0 if isinstance(model.get_submodule(module), _ConvTransposeNd) else 1


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
    keep_zeros(model, dict.fromkeys([*kept_at_zero(model), *masks]))


def keep_zeros(model: nn.Module, names: Iterable[str]) -> None:
    """Keep the elements of the named parameters at zero that are zero now.

    Whoever trains the model: their gradients are zero, so SGD with momentum and weight decay,
    Adam and their like leave them as they are. The state dict stays as it is, copies keep zeros
    too. A fresh optimiser is needed, one without old momentum.
    """
    for number, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, ZeroKeeper):
            hook.release()
            del model._forward_pre_hooks[number]
    parameters = {name: model.get_parameter(name) for name in names}
    if parameters:
        model.register_forward_pre_hook(ZeroKeeper(parameters))


def kept_at_zero(model: nn.Module) -> list[str]:
    """Return the names of the parameters that have elements kept at zero.

    A copy from which a module is gone still has its masks: what it lacks is left out.
    """
    keepers = [hook for hook in model._forward_pre_hooks.values() if isinstance(hook, ZeroKeeper)]
    there = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return [name for keeper in keepers for name in keeper.masks if name in there]


class ZeroKeeper:
    """Has the gradients of what is zero now zeroed; lives as a forward hook of the whole model.

    It goes to copies with the model and holds on to the parameters there. Should others be put
    in their place later, the next forward finds them.

    Args:
        parameters: Parameters by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.masks = {name: p.detach() != 0 for name, p in parameters.items()}
        self._held: dict[str, tuple[ref[nn.Parameter], RemovableHandle]] = {}
        for name, parameter in parameters.items():
            self._hold(name, parameter)

    def release(self) -> None:
        """Let the zeros go."""
        for _, handle in self._held.values():
            handle.remove()

    def __call__(self, model: nn.Module, _: Any) -> None:
        """Hold on to every parameter of ``model`` that is not yet held."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        for name in self.masks:
            try:
                parameter = model.get_parameter(name)
            except AttributeError:  # its module is gone
                continue
            self._hold(name, parameter)

    def _hold(self, name: str, parameter: nn.Parameter) -> None:
        held = self._held.get(name)
        if not parameter.requires_grad or (held is not None and held[0]() is parameter):
            return
        if self.masks[name].shape != parameter.shape:  # it was cut since
            self.masks[name] = parameter.detach() != 0
        mask = self.masks[name]
        handle = parameter.register_hook(lambda grad: grad.masked_fill(~mask.to(grad.device), 0))
        self._held[name] = (ref(parameter), handle)

    def __getstate__(self) -> dict[str, Any]:
        alive = {name: held() for name, (held, _) in self._held.items()}
        return {"masks": self.masks, "held": {n: p for n, p in alive.items() if p is not None}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.masks, self._held = state["masks"], {}
        for name, parameter in state["held"].items():
            self._hold(name, parameter)
