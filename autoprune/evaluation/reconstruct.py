"""What a cut leaves of each layer, fitted by least squares to what the dense layer gives.

He et al. 2017, arXiv:1707.06168: the outputs of a layer, reconstructed from the channels left.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.evaluation.layer_rows import Layer, inputs_at, is_linear, outputs_at, places
from autoprune.evaluation.measure import to_device
from autoprune.evaluation.recalibrate import averaging, norms_of
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Cut, staying
from autoprune.tasks import Task
from autoprune.tasks.chunks import joined

PLACES = 4096  # that a layer is fitted at, at most
HELD = 2**29  # bytes of activations at once, and of the outputs that are kept
RIDGE = 0.1  # of the mean square of what a layer reads: how much weights keep to what they were
AUDITED = 8  # one of so many places tells whether a fit is better than what it began with


@dataclass(frozen=True)
class Targets:
    """What the layers of a model give, at some places of some samples.

    Args:
        inputs: Arguments of the forward on those samples.
        samples: How many they are.
        whole: Whether they are all that were asked for.
        at: Numbers of the places by layer, see `places`.
        outputs: ``places x outputs`` by layer.
    """

    inputs: Any
    samples: int
    whole: bool
    at: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


def targets_of(
    model: nn.Module, task: Task, batches: int, memory: int, seed: int, device: str
) -> Targets:
    """Run a model on training samples, at once, and keep what its layers give.

    Batch norms use the statistics of these samples, as those of pruned models will. Where a
    model's own are others, as before any training, scales would be orders of magnitude apart.

    Args:
        model: What pruned models are to be like, on ``device``; left as it is.
        task: Source of the training batches.
        batches: How many, as far as `HELD` allows.
        memory: Bytes of activations for a sample.
        seed: Decides which places.
        device: Where the model is.

    Raises:
        DataError: If the train loader fails.
    """
    taken, counts = list[Any](), list[int]()
    for raw in islice(task.batches("train"), batches):
        counts.append(task.samples(raw))
        if taken and sum(counts) * memory > HELD:
            break
        taken.append(raw)
    batch, samples = joined(taken, counts[: len(taken)])
    model = copied(model)
    seen, norms = _Seen.by(model, seed), norms_of(model).values()
    inputs = task.inputs(to_device(batch, device))
    hooks = [layer.register_forward_hook(partial(seen.note, name)) for name, layer in seen.layers]
    with evaluating(model), averaging(norms), torch.no_grad(), _removing(hooks):
        call(model, inputs)
    return Targets(inputs, samples, samples == sum(counts), seen.at, seen.outputs)


@dataclass
class _Seen:
    """Keeps what layers give at places drawn at random; of layers that run once."""

    layers: list[tuple[str, Layer]]
    rows: int
    rng: torch.Generator
    at: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, model: nn.Module, seed: int) -> "_Seen":
        layers = [(name, module) for name, module in model.named_modules() if is_linear(module)]
        uses = [id(module.weight) for _, module in layers]
        own = [pair for pair, use in zip(layers, uses, strict=True) if uses.count(use) == 1]
        width = sum(module.weight.shape[0] for _, module in own)
        rows = max(1, min(PLACES, HELD // (4 * max(width, 1))))
        return cls(own, rows, torch.Generator().manual_seed(seed))

    def note(self, name: str, layer: Layer, _: Any, output: Tensor) -> None:
        if name in self._again or name in self.at:
            self._again.add(name)
            self.at.pop(name, None), self.outputs.pop(name, None)
            return
        drawn = torch.randperm(places(layer, output), generator=self.rng)[: self.rows]
        at = drawn.to(output.device)
        self.at[name], self.outputs[name] = at, outputs_at(layer, output, at)


@contextmanager
def _removing(hooks: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def reconstruct(model: nn.Module, targets: Targets, cut: Cut) -> int:
    """Fit the layers of a pruned model, one after the other, in place; return multiply-adds.

    Each reads what the layers before it give, fitted already, and is to give what the dense one
    gives at the same places. Statistics of batch norms are taken anew on the way. Layers with
    weights kept at zero, used more than once or tied stay as they are, and so does one whose
    fit is no better at places it has not seen.

    Args:
        model: The model after ``cut``.
        targets: Of the model it was cut from.
        cut: What was cut.
    """
    zeroed, macs = set(kept_at_zero(model)), list[int]()

    def fit(name: str, layer: Layer, args: tuple[Any, ...]) -> None:
        wanted = targets.outputs[name]
        gone = cut.positions.get(f"{name}.weight", {}).get(0)
        if gone is not None:
            wanted = wanted[:, torch.from_numpy(staying(wanted.shape[1], gone)).to(wanted.device)]
        read = inputs_at(layer, args[0], targets.at[name]) if args else None
        if read is not None and wanted.shape[1] == layer.weight.shape[0]:
            macs.append(_fit(layer, read, wanted))

    left = {n: m for n, m in model.named_modules() if n in targets.at and is_linear(m)}
    fitted = {n: layer for n, layer in left.items() if f"{n}.weight" not in zeroed}
    hooks = [layer.register_forward_pre_hook(partial(fit, n)) for n, layer in fitted.items()]
    norms = norms_of(model).values()
    with evaluating(model), averaging(norms), torch.no_grad(), _removing(hooks):
        call(model, targets.inputs)
    return sum(macs)


def _fit(layer: Layer, read: Tensor, wanted: Tensor) -> int:
    """Fit weight and bias by ridge regression towards what they are; return multiply-adds."""
    groups, rows, width = read.shape
    audited = max(1, rows // AUDITED)
    given = wanted.reshape(rows, groups, -1).transpose(0, 1)
    old = layer.weight.reshape(groups, -1, width).mT
    own, wish = read[:, audited:], given[:, audited:]
    mean, level = (x.mean(1, keepdim=True) for x in (own, wish))
    own, wish = own - mean, wish - level
    gram, product = own.mT @ own, own.mT @ wish
    ridge = RIDGE * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    tiny = torch.finfo(gram.dtype).tiny
    system = gram + (ridge + tiny) * torch.eye(width, device=gram.device)
    new = torch.linalg.solve(system, product + ridge * old)

    def error(weight: Tensor) -> Tensor:
        gap = (read[:, :audited] - mean) @ weight - (given[:, :audited] - level)
        return gap.square().sum()

    if error(new) < error(old):  # false for numbers that are not finite, too
        layer.weight.copy_(new.mT.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_((level - mean @ new).reshape(-1))
    return int(groups * width * (rows * (width + 2 * new.shape[-1]) + width * width // 3))
