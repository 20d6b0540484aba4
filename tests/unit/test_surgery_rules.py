"""Rules that keep channels free: the unit is there, right by value, and as large as it can be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.surgery.compare import randomised
from autoprune.surgery.discover import discover
from autoprune.surgery.verify import sliced_equals_masked

Run = Callable[[Any, Tensor], Tensor]
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Toy(nn.Module):
    """Eight channels of ``a`` go through ``run`` into ``b``."""

    def __init__(self, run: Run, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        for name, part in parts.items():
            setattr(self, name, part)
        self.b = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.b(self.run(self, F.leaky_relu(self.a(x))))


def through_patches(m: Any, y: Tensor) -> Tensor:
    return F.fold(F.unfold(y, 3, padding=1), (y.shape[2], y.shape[3]), 3, padding=1)


def uneven(m: Any, y: Tensor) -> Tensor:
    quarter = y.shape[1] // 4
    first, second, third = y.split([quarter, 2 * quarter, quarter], 1)
    return torch.cat([second, first * 2, third], 1)


def positions_by_place(m: Any, y: Tensor) -> Any:
    return (y.flatten(2) + m.positions.flatten(2)).view_as(y)


def added(m: Any, y: Tensor) -> Any:
    flat = y.flatten(2)
    mixed = torch.eye(flat.shape[2], dtype=y.dtype).roll(1, 0).expand(2, -1, -1)
    return torch.baddbmm(m.w(y).flatten(2), flat, mixed).view_as(y)


def lines(y: Tensor) -> Any:
    return F.interpolate(y.flatten(2), scale_factor=2.0, mode="linear").unflatten(2, (-1, 16))


def volume(y: Tensor) -> Any:
    return F.avg_pool3d(F.max_pool3d(y.unsqueeze(2), (1, 2, 2)), (1, 2, 2)).squeeze(2)


def cut(m: Any, y: Tensor) -> Tensor:
    weight = m.w.weight - m.w.weight.mean((1, 2, 3), True)
    return F.conv2d(y, weight / (m.w.weight.std((1, 2, 3), keepdim=True) + 0.1), padding=1)


def places(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(1)))


# What is done to the channels, and how many atoms they make.
FREE: dict[str, tuple[Callable[[], Toy], int]] = {
    "mean": (lambda: Toy(lambda m, y: y - y.mean(1, keepdim=True)), 8),
    "mean_of_all": (lambda: Toy(lambda m, y: y * y.mean()), 8),
    "amax": (lambda: Toy(lambda m, y: y - y.amax(1, keepdim=True)), 8),
    "amin": (lambda: Toy(lambda m, y: y - y.amin((1, 2), keepdim=True)), 8),
    "var": (lambda: Toy(lambda m, y: y / (1 + y.var(1, correction=0, keepdim=True))), 8),
    "std_of_more": (lambda: Toy(lambda m, y: y / (1 + y.std((1, 2), keepdim=True))), 8),
    "var_mean": (lambda: Toy(lambda m, y: y * torch.var_mean(y, (1, 2), keepdim=True)[1]), 8),
    "softmax": (lambda: Toy(lambda m, y: y.softmax(1)), 8),
    "log_softmax": (lambda: Toy(lambda m, y: y.log_softmax(-3)), 8),
    "standardised": (lambda: Toy(cut, w=nn.Conv2d(8, 8, 3)), 8),
    "stack": (lambda: Toy(lambda m, y: torch.stack([y, 2 * y], 1).amax(1)), 8),
    "stack_last": (lambda: Toy(lambda m, y: torch.stack([y, 2 * y], -1).sum(-1)), 8),
    "patches": (lambda: Toy(through_patches), 8),
    "uneven_split": (lambda: Toy(uneven), 2),
    "glu": (lambda: Toy(lambda m, y: F.glu(m.wide(y), 1), wide=nn.Conv2d(8, 16, 1)), 8),
    "glu_of_itself": (lambda: Toy(lambda m, y: torch.cat([F.glu(y, 1), F.glu(2 * y, 1)], 1)), 4),
    "added_to_products": (lambda: Toy(added, w=nn.Conv2d(8, 8, 1)), 8),
    "last_of_fewer": (lambda: Toy(lambda m, y: y[:, -16:]), 8),
    "positions": (lambda: Toy(positions_by_place, positions=places(1, 1, 8, 8)), 8),
    "positions_first": (
        lambda: Toy(
            lambda m, y: (y + m.positions).flatten(2).view_as(y), positions=places(8, 8, 8)
        ),
        8,
    ),
    "bicubic": (
        lambda: Toy(lambda m, y: F.interpolate(y, size=5, mode="bicubic", antialias=True)),
        8,
    ),
    "linear": (lambda: Toy(lambda m, y: lines(y)), 8),
    "pool_3d": (lambda: Toy(lambda m, y: volume(y)), 8),
    "adaptive_max": (lambda: Toy(lambda m, y: F.adaptive_max_pool2d(y, 3)), 8),
    "reflection": (lambda: Toy(lambda m, y: F.pad(y, (1, 1, 1, 1), mode="reflect")), 8),
}


@pytest.mark.parametrize("name", FREE)
def test_channels_stay_free(name: str) -> None:
    build, atoms = FREE[name]
    model = randomised(build().eval(), torch.Generator().manual_seed(2))
    plan = discover(model, [IMAGES], np.random.default_rng(0))
    assert not plan.rejected
    (unit,) = (u for u in plan.units.values() if any(p.tensor == "a.weight" for p in u.slices))
    assert unit.atoms == atoms
    for gone in ([0], list(range(1, atoms))):
        alike = {name: np.array(gone) for name, one in plan.units.items() if one.atoms == atoms}
        assert sliced_equals_masked(model, plan, alike, [IMAGES]) < 1e-8
        assert sliced_equals_masked(model, plan, {unit.name: np.array(gone)}, [IMAGES]) < 1e-8


def test_an_unbiased_variance_of_channels_is_sealed() -> None:
    model = Toy(lambda m, y: m.w(y / (1 + y.var(1, keepdim=True))), w=nn.Conv2d(8, 8, 1)).eval()
    plan = discover(model, [IMAGES], np.random.default_rng(0))
    assert "unbiased" in plan.sealed["a.weight[0]"]
    assert list(plan.units) == ["w"]
