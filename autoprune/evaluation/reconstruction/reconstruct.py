"""What a cut leaves of each layer, fitted by least squares to what the dense layer gives.

He et al. 2017, arXiv:1707.06168: the outputs of a layer, reconstructed from the channels left.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.evaluation.measuring.measure import to_device
from autoprune.evaluation.reconstruction.layer_rows import (
    Layer,
    grid,
    inputs_at,
    is_linear,
    outputs_at,
    row_size,
)
from autoprune.evaluation.reconstruction.recalibrate import averaging, norms_of
from autoprune.evaluation.reconstruction.regression import fit
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, forward
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import kept_at_zero
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Cut, staying
from autoprune.tasks import Task
from autoprune.tasks.chunks import joined

PLACES = 4096  # that a layer is fitted at, at most
FEWEST = 16
HELD = 2**29  # bytes of activations at once, and of the outputs that are kept
READ = 2**27  # bytes of what one layer reads at all of its places


@dataclass(frozen=True)
class Target:
    """What a layer of the dense model gives.

    Args:
        grid: Samples and positions.
        at: Numbers of places of it.
        outputs: ``places x outputs``.
        normed: Whether a norm comes right after it that takes statistics anew, and any mean away.
    """

    grid: tuple[int, ...]
    at: Tensor
    outputs: Tensor
    normed: bool = False


@dataclass(frozen=True)
class Targets:
    """What the layers of a model give, at some places of some samples.

    Args:
        inputs: Arguments of the forward on those samples.
        samples: How many they are.
        whole: Whether they are all that were asked for.
        layers: What each layer gives, by name.
    """

    inputs: Inputs
    samples: int
    whole: bool
    layers: Mapping[str, Target]


def targets_of(
    model: nn.Module, task: Task, plan: Plan, batches: int, memory: int, seed: int, device: str
) -> Targets:
    """Run a model on training samples, at once, and keep what its layers give.

    Batch norms use the statistics of these samples, as those of pruned models will. Where a
    model's own are others, as before any training, scales would be orders of magnitude apart.

    Args:
        model: What pruned models are to be like, on ``device``; left as it is.
        task: Source of the training batches.
        plan: The model's plan.
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
    inputs = task.inputs(to_device(batch, device))
    seen = _Seen.by(copied(model), samples if plan.by_value else None, seed)
    _run(seen.model, inputs, seen.hooks())
    return Targets(inputs, samples, samples == sum(counts), seen.found)


def _run(model: nn.Module, inputs: Inputs, hooks: Sequence[Any]) -> None:
    """Run a model under hooks, norms taking new statistics; hooks are removed then."""
    with evaluating(model), averaging(norms_of(model).values()), torch.no_grad(), _removing(hooks):
        forward(model, inputs)


@contextmanager
def _removing(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Seen:
    """Keeps what layers give at places drawn at random; of layers that run once.

    Args:
        model: The model that runs.
        layers: Those that could be fitted, by name.
        most: Places of each.
        samples: What the first axis must hold, where other rows than samples (proposals of a
            detector) depend on what the model finds; else None.
        rng: Draws the places.
        found: What they give.
    """

    model: nn.Module
    layers: Mapping[str, Layer]
    most: int
    samples: int | None
    rng: torch.Generator
    found: dict[str, Target] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _last: tuple[str, Tensor, int] | None = None  # a layer, its output, and that one's version

    @classmethod
    def by(cls, model: nn.Module, samples: int | None, seed: int) -> "_Seen":
        uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        layers = {
            name: module
            for name, module in model.named_modules()
            if is_linear(module) and all(uses[id(p)] == 1 for p in module.parameters())
        }
        width = sum(module.weight.shape[0] for module in layers.values())
        most = min(PLACES, HELD // (4 * max(width, 1)))
        return cls(model, layers, most, samples, torch.Generator().manual_seed(seed))

    def hooks(self) -> list[Any]:
        layers = [
            one.register_forward_hook(partial(self._note, name))
            for name, one in self.layers.items()
        ]
        norms = norms_of(self.model).values()
        return layers + [norm.register_forward_pre_hook(self._note_norm) for norm in norms]

    def _note(self, name: str, layer: Layer, _: Any, output: Tensor) -> None:
        if name in self._again or name in self.found:
            self._again.add(name)
            self.found.pop(name, None)
            return
        places = grid(layer, output)
        if self.samples is not None and places[:1] != (self.samples,):
            return
        most = min(self.most, READ // (4 * row_size(layer)))
        drawn = torch.randperm(prod(places), generator=self.rng)[:most]
        if places and len(drawn) >= FEWEST:
            at = drawn.to(output.device)
            self.found[name] = Target(places, at, outputs_at(layer, output, at))
            self._last = name, output, output._version

    def _note_norm(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        name, output, version = self._last or ("", None, 0)
        # What an activation has changed in place is the same tensor, but no longer what it gave.
        if name in self.found and args and args[0] is output and output._version == version:
            self.found[name] = replace(self.found[name], normed=True)


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
    macs = list[int]()

    def fit_to(name: str, layer: Layer, args: tuple[Any, ...]) -> None:
        target = targets.layers[name]
        gone = cut.positions.get(f"{name}.weight", {}).get(0)
        wanted = target.outputs
        if gone is not None:
            wanted = wanted[:, torch.from_numpy(staying(wanted.shape[1], gone)).to(wanted.device)]
        read = inputs_at(layer, args[0], target.at, target.grid) if args else None
        if read is not None and wanted.shape[1] == layer.weight.shape[0]:
            macs.append(fit(layer, read, wanted, normed=target.normed))

    zeroed = set(kept_at_zero(model))
    hooks = [
        module.register_forward_pre_hook(partial(fit_to, name))
        for name, module in model.named_modules()
        if name in targets.layers and is_linear(module) and f"{name}.weight" not in zeroed
    ]
    _run(model, targets.inputs, hooks)
    return sum(macs)
