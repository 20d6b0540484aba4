"""What a model gives, in a form in which two of them can be compared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from autoprune.surgery.modes import evaluating, seeded, switched
from autoprune.surgery.nested import Inputs, floats_in, forward, map_tensors
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Cut

_AFFINE_NORMS = (_NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
_TINY = 1e-3
Tensors = list[torch.Tensor]


def outputs(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    """Return every floating-point tensor of one forward, in eval mode, without gradients."""
    with evaluating(model), torch.no_grad(), seeded():
        return floats_in(forward(model, inputs))


def difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Return the largest difference relative to the largest value of ``right``.

    Outputs of different number or shape differ by infinity.
    """
    if [x.shape for x in left] != [x.shape for x in right]:
        return float("inf")
    worst = 0.0
    for one, other in zip(left, right, strict=True):
        if other.numel():
            gap = (one - other).abs().max() / other.abs().max().clamp_min(1e-12)
            worst = max(worst, float(gap)) if bool(torch.isfinite(gap)) else float("inf")
    return worst


def randomised(model: nn.Module, rng: torch.Generator) -> nn.Module:
    """Return a copy with random norm statistics and affines, and without parameters near zero.

    Fresh statistics, zero-initialised heads and layer scales would hide what they multiply.
    """
    twin = copied(model)

    def fill(tensor: torch.Tensor | None, low: float, high: float) -> None:
        if tensor is not None:
            values = torch.rand(tensor.shape, generator=rng) * (high - low) + low
            tensor.data.copy_(values)

    for module in twin.modules():
        if isinstance(module, _AFFINE_NORMS):
            fill(getattr(module, "running_mean", None), -0.5, 0.5)
            fill(getattr(module, "running_var", None), 0.5, 1.5)
            fill(module.weight, 0.5, 1.5)
            fill(getattr(module, "bias", None), -0.5, 0.5)
    for parameter in twin.parameters():
        if not (parameter.abs() > _TINY).any():
            fill(parameter, -0.1, 0.1)
    return twin


class Observer:
    """Collects everything that two models of one plan can be compared by.

    That is their outputs, or those of the plan's witnesses (such as a detector's heads, before
    post-processing); where auxiliary heads were traced, in training as well.

    Args:
        plan: The plan.
        cut: What is cut in one of the models; layers in modules that go whole do not count.
    """

    def __init__(self, plan: Plan, cut: Cut) -> None:
        self._names = [name for name in plan.witnesses if not cut.drops(name)]
        self._training = plan.training

    def __call__(
        self, model: nn.Module, inputs: Inputs, run: Callable[..., Any] | None = None
    ) -> Tensors:
        """Return what ``run`` (``model`` itself if None) gives while it runs ``model``."""
        run = run or model
        with evaluating(model):
            seen = self._seen(model, inputs, run)
            if self._training:
                with switched(model, self._training):
                    seen += self._seen(model, inputs, run)
        return seen

    def _seen(self, model: nn.Module, inputs: Inputs, run: Callable[..., Any]) -> Tensors:
        # A forward may draw in eval mode too.
        with _outputs_of(model, self._names) as seen, seeded():
            out = forward(run, inputs)
        return seen if self._names else floats_in(out)


@contextmanager
def _outputs_of(model: nn.Module, names: Sequence[str]) -> Iterator[Tensors]:
    seen: Tensors = []

    def see(_: nn.Module, __: Any, out: Any) -> None:
        seen.extend(floats_in(out))

    hooks = [model.get_submodule(name).register_forward_hook(see) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def in_double(
    model: nn.Module, input_sets: Sequence[Inputs]
) -> tuple[nn.Module, Sequence[Inputs]]:
    """Return model and inputs in double precision, so that rounding cannot look like a fault.

    A model that insists on its precision is left as it is.
    """

    def widen(x: torch.Tensor) -> torch.Tensor:
        return x.double() if x.is_floating_point() else x

    wide = [map_tensors(widen, inputs) for inputs in input_sets]
    twin = copied(model).double()
    try:
        outputs(twin, wide[0])
    except Exception:  # the user's forward may raise anything
        return model, input_sets
    return twin, wide
