"""Peak memory against figures worked out by hand, and blocks that are not there."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan

FLOAT = 4


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def planned(model: nn.Module, x: Tensor) -> tuple[Plan, CostModel]:
    plan = discover(model, [x], np.random.default_rng(0))
    return plan, CostModel(model, plan)


def cut(model: nn.Module, plan: Plan, kept: dict[str, int]) -> nn.Module:
    atoms = plan.atoms
    return apply(model, plan, {name: np.arange(n, atoms[name]) for name, n in kept.items()})


class Skip(nn.Module):
    """A skip connection, held while its branch is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.a = nn.Conv2d(8, 20, 1)
        self.b = nn.Conv2d(20, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x)
        y = y + self.b(self.a(y))
        return self.head(y.mean((2, 3)))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_skip_is_held_while_its_branch_is_computed(batch: int) -> None:
    model = Skip()
    _, prices = planned(model, images(batch, 3, 5, 5))
    for stem, a in product([1, 4, 8], [1, 5, 20]):
        image, stream, branch = 3 * 25, stem * 25, a * 25
        # The caller holds the image. The worst moment is b, which reads a and writes the stream
        # while the skip is held, or the sum: two of the stream, and the result.
        worst = image + max(stream + branch + stream, 3 * stream)
        assert prices.price({"stem": stem, "a": a}).memory == FLOAT * worst


class Held(nn.Module):
    """A skip from far away, which is alive while the widest layer runs."""

    def __init__(self, held: bool) -> None:
        super().__init__()
        self.held = held
        self.stem = nn.Conv2d(3, 6, 1)
        self.wide = nn.Conv2d(6, 32, 1)
        self.wider = nn.Conv2d(32, 32, 1)
        self.narrow = nn.Conv2d(32, 6, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x)
        kept = y if self.held else None
        y = self.wide(y)
        y = self.wider(y)
        y = self.narrow(y)
        return self.head(y if kept is None else y + kept)


@pytest.mark.parametrize("held", [True, False])
def test_what_is_held_for_later_counts_at_the_peak(held: bool) -> None:
    x = images(2, 3, 4, 4)
    _, prices = planned(Held(held), x)
    for wide in (3, 32):
        # what `wider` or `narrow` reads and writes, beside the image, and the skip if it is held
        expected = FLOAT * 16 * (3 + max(wide + 32, 32 + 6) + held * 6)
        assert prices.price({"wide": wide}).memory == expected


class Block(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Any:
        return x + self.b(self.a(x))


class Chain(nn.Module):
    def __init__(self, blocks: int, inner: Sequence[int] = (5,)) -> None:
        super().__init__()
        own = [Block(8, inner[n % len(inner)]) for n in range(blocks)]
        self.blocks = nn.Sequential(*own)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.blocks(x)).mean(1)


def dropped(model: nn.Module, plan: Plan, gone: Sequence[str]) -> nn.Module:
    return apply(model, plan, {name: np.array([0]) for name in gone})


@pytest.mark.parametrize("inner", [(5,), (40, 3, 17)])
def test_every_set_of_dropped_blocks_costs_what_is_left(inner: tuple[int, ...]) -> None:
    model, x = Chain(4, inner), images(2, 4, 8)
    plan, prices = planned(model, x)
    blocks = list(plan.of("block"))
    assert len(blocks) == 4
    for count in range(5):
        for gone in combinations(blocks, count):
            found = prices.price(dict.fromkeys(gone, 0))
            assert found == count_costs(dropped(model, plan, gone), [x], 2), gone


def test_without_two_blocks_in_a_row_the_worst_moment_is_in_the_other() -> None:
    model, x = Chain(3, (40, 40, 2)), images(2, 4, 8)
    plan, prices = planned(model, x)
    image, stream = 4 * 8, 4 * 8

    def inside(width: int, block: int) -> int:
        return image + stream * (block > 0) + 4 * width + stream

    # A block that reads the image holds it once: the caller's image is the skip.
    assert prices.dense.memory == FLOAT * max(inside(40, 0), inside(40, 1), inside(2, 2))
    both = prices.price({"blocks.0:block": 0, "blocks.1:block": 0}).memory
    assert both == FLOAT * (image + 2 * stream)  # the sum: the branch, and what it gives
    assert both == count_costs(dropped(model, plan, list(plan.of("block"))[:2]), [x], 2).memory


def test_of_a_long_row_of_blocks_the_memory_is_an_upper_bound() -> None:
    model, x = Chain(9, (2,)), images(2, 4, 8)
    plan, prices = planned(model, x)
    blocks = list(plan.of("block"))
    assert prices.dense == count_costs(model, [x], 2)
    bounds = []
    for count in range(10):
        found = prices.price(dict.fromkeys(blocks[:count], 0))
        counted = count_costs(dropped(model, plan, blocks[:count]), [x], 2)
        bounds.append(found.memory)
        assert found.memory >= counted.memory
        assert (found.macs, found.params, found.size) == (
            counted.macs,
            counted.params,
            counted.size,
        )
    assert max(bounds) <= prices.dense.memory


def test_blocks_and_channels_together() -> None:
    model, x = Chain(3, (12, 7, 30)), images(2, 4, 8)
    plan, prices = planned(model, x)
    rng = np.random.default_rng(0)
    for _ in range(20):
        kept = {
            name: int(rng.integers(unit.kind != "block", unit.atoms + 1))
            for name, unit in plan.units.items()
        }
        assert prices.price(kept) == count_costs(cut(model, plan, kept), [x], 2), kept


def test_memory_is_that_of_one_sample() -> None:
    model = Skip()
    one, four = (count_costs(model, [images(n, 3, 5, 5)], n).memory for n in (1, 4))
    assert one == four


def test_views_and_what_is_changed_in_place_take_nothing() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

        def forward(self, x: Tensor) -> Any:
            y = torch.relu_(self.a(x))
            return self.b(y.reshape(y.shape)[:, :]).flatten(1)

    # the image and both outputs
    assert count_costs(Views(), [images(1, 3, 4, 4)], 1).memory == FLOAT * 16 * (3 + 6 + 2)
