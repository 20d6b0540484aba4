"""Small models for the contract tests, with their units, weights and gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.surgery.discover import discover
from autoprune.surgery.ids import Ids
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import Unit

CLASSES = 3


@dataclass(frozen=True)
class Case:
    """One model, taken apart.

    Args:
        units: Its units, those of single weights included.
        weights: Parameters and buffers by name.
        gradients: Gradients of a loss of its parameters by name.
    """

    units: Sequence[Unit]
    weights: dict[str, Tensor]
    gradients: dict[str, Tensor]

    def copy(self) -> "Case":
        """Return the same in memory of its own."""
        return self._mapped(torch.clone)

    def to(self, dtype: torch.dtype) -> "Case":
        """Return the same in another precision."""
        return self._mapped(lambda tensor: tensor.to(dtype))

    def zero(self) -> "Case":
        """Return the same with every number zero."""
        return self._mapped(torch.zeros_like)

    def permuted(self, unit: Unit, order: Ids) -> "Case":
        """Return the same with atom ``order[i]`` of a unit in the place of its atom ``i``."""
        case = self.copy()
        for part in unit.slices:
            target = torch.from_numpy(part.index.ravel())
            source = torch.from_numpy(part.index[order].ravel())
            for tensors in (case.weights, case.gradients):
                if part.tensor in tensors:
                    values = tensors[part.tensor].detach()
                    moved = values.index_select(part.dim, source)
                    tensors[part.tensor] = values.index_copy(part.dim, target, moved)
        return case

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Case":
        weights = {
            name: change(tensor.detach()).requires_grad_(name in self.gradients)
            for name, tensor in self.weights.items()
        }
        gradients = {name: change(tensor) for name, tensor in self.gradients.items()}
        return replace(self, weights=weights, gradients=gradients)


class Residual(nn.Module):
    """A stream made by two layers, a branch with a depthwise layer, and a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.b = nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(32, CLASSES)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``batch x classes``."""
        y = F.leaky_relu(self.norm(self.stem(x)))
        y = y + self.b(F.leaky_relu(self.depthwise(self.a(y))))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(y, 2).flatten(1))
        return logits


class Attention(nn.Module):
    """Queries and keys, whose widths no weight reads, and values, which one does."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 6) for _ in range(3))
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for ``batch x tokens x 8``."""
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        logits: Tensor = self.out(scores.softmax(-1) @ self.value(x)).mean(1)
        return logits


class Heads(nn.Module):
    """Attention of three heads with projections of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 12) for _ in range(3))
        self.bias = nn.Parameter(torch.randn(3, 1, 1))
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for ``batch x tokens x 8``."""
        q, k, v = (
            y.unflatten(-1, (len(self.bias), -1)).transpose(1, 2)
            for y in (self.query(x), self.key(x), self.value(x))
        )
        mixed = (q @ k.transpose(2, 3) + self.bias).softmax(-1) @ v
        logits: Tensor = self.out(mixed.transpose(1, 2).flatten(2)).mean(1)
        return logits


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 5), nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``batch x tokens x 8`` for the same."""
        y: Tensor = x + self.b(F.leaky_relu(self.a(x)))
        return y


class Blocks(nn.Module):
    """Two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for ``batch x tokens x 8``."""
        logits: Tensor = self.out(self.blocks(x)).mean(1)
        return logits


def residual() -> Case:
    """Return a convolutional case: a coupled unit with a norm, and one without."""
    return _case(Residual, (4, 3, 8, 8)).copy()


def attention() -> Case:
    """Return a case with a unit that no weight reads."""
    return _case(Attention, (4, 8, 8)).copy()


def heads() -> Case:
    """Return a case with a unit of whole attention heads, and one of their width."""
    return _case(Heads, (4, 8, 8)).copy()


def blocks() -> Case:
    """Return a case with two blocks."""
    return _case(Blocks, (4, 8, 8)).copy()


@cache
def _case(kind: type[nn.Module], shape: tuple[int, ...]) -> Case:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = kind().eval(), torch.randn(shape)
    plan = discover(model, [inputs], np.random.default_rng(0))
    named = dict(model.named_parameters())
    loss = F.cross_entropy(model(inputs), torch.tensor([0, 2, 1, 2]))
    gradients = torch.autograd.grad(loss, list(named.values()))
    units = [*plan.units.values(), *plan.weights.values()]
    return Case(units, state_tensors(model), dict(zip(named, gradients, strict=True)))
