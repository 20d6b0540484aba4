"""Forwards that change what they get, draw, pick by value or remember; tensors of odd kinds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.surgery.compare import outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.trace import trace

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Run = Callable[[Any, Tensor], Any]


class Toy(nn.Module):
    """``before -> a -> b -> after``."""

    def __init__(self, before: Run = lambda m, x: x, after: Run = lambda m, y: y) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.after(self, self.b(F.relu(self.a(self.before(self, x)))).mean((2, 3)))


def found(model: nn.Module) -> Plan:
    return discover(model.eval(), [IMAGES.clone()], np.random.default_rng(0))


@pytest.mark.parametrize(
    "model",
    [
        Toy(before=lambda m, x: x.sub_(0.3).div_(0.5)),
        Toy(before=lambda m, x: x + 0.01 * torch.randn_like(x)),
        Toy(after=lambda m, y: F.dropout(y, 0.2)),
    ],
    ids=["in place", "noise", "dropout"],
)
def test_forwards_that_differ_each_time_are_compared_alike(model: nn.Module) -> None:
    assert found(model).units["a"].atoms == 8


def test_inputs_stay_as_they_are() -> None:
    images = IMAGES.clone()
    model = Toy(before=lambda m, x: x.sub_(0.3)).eval()
    outputs(model, [images])
    trace(model, [images])
    assert torch.equal(images, IMAGES)
