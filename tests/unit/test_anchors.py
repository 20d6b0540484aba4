"""The first proposals: what every search should have tried."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.agent.feasible.allocation import Allocator
from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.anchors import allocations, anchors, coupled
from autoprune.agent.samplers.pool import Pool, padded
from autoprune.core.arrays import Floats
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.space.schema import SearchSpace
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan

METHODS = ["channel.l1", "channel.l2"]


class Residual(nn.Module):
    """A stream that two layers write to, and a layer inside the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 12, 3, padding=1)
        self.outer = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.outer(torch.relu(self.inner(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.fixture
def net() -> nn.Module:
    return Residual().eval()


@pytest.fixture
def plan(net: nn.Module) -> Plan:
    return discover(net, [torch.randn(2, 3, 6, 6)], np.random.default_rng(0))


@pytest.fixture
def projection(cost: CostModel, plan: Plan) -> Projection:
    atoms = {name: unit.atoms for name, unit in plan.units.items()}
    given = {"methods": METHODS, "sparsities": [at / 12 for at in range(1, 12)]}
    spaces = SearchSpace.model_validate(given).resolve(atoms)
    return Projection(cost, spaces, Budget.parse("macs=50%"))


def errors_of(projection: Projection, better: str) -> Floats:
    """Return errors that rise, lower with one of the methods, and steeper for the stem."""
    return padded(
        Encoding(projection.spaces),
        {
            unit: {
                method: np.square(np.arange(space.levels, dtype=np.float64))
                * (3.0 if unit == "stem" else 1.0)
                * (1.0 if method == better else 2.0)
                for method in space.methods
            }
            for unit, space in projection.spaces.items()
        },
    )


def test_the_stem_of_a_residual_stream_is_coupled(plan: Plan) -> None:
    assert {unit: coupled(plan, unit) for unit in plan.units} == {"stem": True, "inner": False}
    assert not coupled(plan, "nobody")


def test_without_a_table_both_shares_come_with_every_method(
    plan: Plan, projection: Projection
) -> None:
    found = anchors(plan, projection.spaces)
    encoding = Encoding(projection.spaces)
    shares = [encoding.removed(encoding.row(params)).tolist() for params in found]
    order = list(projection.spaces)
    at = {"stem": 0.5, "inner": 0.5}, {"stem": 0.125, "inner": 0.5}
    expected = [[own[unit] for unit in order] for own in at for _ in METHODS]
    assert shares == pytest.approx(np.array(expected), abs=1e-9)
    assert [params["method:inner"] for params in found] == METHODS * 2


@pytest.mark.parametrize("better", METHODS)
def test_what_gives_up_least_comes_first_with_the_method_that_gives_up_less(
    plan: Plan, projection: Projection, better: str
) -> None:
    errors = errors_of(projection, better)
    found = allocations(plan, projection, errors)
    encoding = Encoding(projection.spaces)
    pool = Pool(projection, encoding, errors)
    first = encoding.row(found[0])
    levels, _ = encoding.split(first)
    assert np.array_equal(levels, Allocator(projection).spdy(pool.least))
    every = [encoding.row(params) for params in found]
    assert len({row.tobytes() for row in every}) == len(every) >= 3, "none comes twice"
    for row, params in zip(every, found, strict=True):
        assert {params[f"method:{u}"] for u in projection.spaces if params[f"level:{u}"]} == {
            better
        }
        if projection.meets(encoding.split(row)[0][None])[0]:
            assert pool.given_up(row[None]).sum() >= pool.given_up(first[None]).sum()
    minimax = Allocator(projection).minimax(pool.least)
    assert any(np.array_equal(encoding.split(row)[0], minimax) for row in every)
