"""Limits on one module: read, counted, met, and nothing else is cut for them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import autoprune
from autoprune.agent.feasible.parts import check_parts, evenly_zeroed, inside_parts, patterns_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.latency.tables import allowed
from autoprune.core.budget import Budget
from autoprune.core.costs import Costs, part_of
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError
from autoprune.space.loader import load_space
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan

IMAGES, TOKENS = (2, 1, 8, 8), (2, 5)
RNG = np.random.default_rng(0)


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1)
        )
        self.see = nn.Linear(16, 4)
        self.text = nn.Sequential(
            nn.Embedding(9, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4)
        )

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.see(self.visual(images).mean((2, 3))), self.text(tokens).mean(1)


@pytest.fixture(scope="module")
def towers() -> tuple[nn.Module, Plan, list[Tensor]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Towers().eval()
        inputs = [torch.randn(*IMAGES), torch.randint(9, TOKENS)]
        return model, discover(model, inputs, np.random.default_rng(0)), inputs


def projection_of(model: nn.Module, plan: Plan, budget: Any) -> Projection:
    limits = Budget.parse(budget)
    cost = CostModel(model, plan, parts=limits.parts)
    check_parts(model, limits, cost.dense)
    spaces = allowed(load_space("default"), plan)
    return Projection(cost, inside_parts(spaces, limits, plan, cost), limits)


# --- how a limit is written


@pytest.mark.parametrize(
    "given",
    ["macs=50%@visual", "macs@visual=50%", {"macs@visual": "50%"}, ["macs = 50% @ visual"]],
)
def test_a_limit_names_its_module_at_either_side(given: Any) -> None:
    found = Budget.parse(given)
    assert found.to_dict() == {"macs@visual": "50%"}
    assert str(found) == "macs=50%@visual"
    assert found.parts == ("macs@visual",)
    assert Budget.parse(str(found)) == Budget.parse(found.to_dict()) == found


def test_limits_on_modules_hold_beside_others() -> None:
    found = Budget.parse("params@text.encoder=2M,macs=50%,flops=3G@visual,macs=70%@text")
    assert found.to_dict() == {
        "macs": "50%",
        "macs@text": "70%",
        "macs@visual": "1500000000",
        "params@text.encoder": "2000000",
    }
    assert found.targets == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("macs@visual=50%@text", "names one module, like 'macs=50%@visual'"),
        ("macs=50%@", "names one module"),
        ("size@visual=50%", "Unknown cost 'size@visual'"),
        ("macs=50%@visual,macs@visual=40%", "limits 'macs@visual' more than once"),
        ("macs=0.5@visual", "less than one; for a share"),
        ("macs=120%@visual", "above 0% and at most 100%"),
    ],
)
def test_limits_that_are_none(given: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Budget.parse(given)


def test_only_costs_of_modules_have_parts() -> None:
    assert part_of("macs@visual.blocks.0") == ("macs", "visual.blocks.0")
    assert [part_of(cost) for cost in ("macs", "latency@pytorch", "size@visual")] == [None] * 3


def test_a_limit_on_zeros_leaves_out_weights_ranked_over_all_tensors() -> None:
    plan = discover(Towers().eval(), [torch.randn(*IMAGES), torch.randint(9, TOKENS)], RNG)
    sparse, dense = Budget.parse("sparse_size=50%"), Budget.parse("size=50%")
    spaces = spaces_of(plan, methods=["unstructured.l1"])
    assert {*spaces} - {*evenly_zeroed(spaces, sparse, plan)} == {"weights"}
    assert evenly_zeroed(spaces, dense, plan) == spaces
    patterns = spaces_of(plan, methods=["2:4.l1"])
    assert evenly_zeroed(patterns, sparse, plan) == patterns
    assert patterns_of(patterns)["weights"] == ((2, 4),)
    alone = {"weights": spaces["weights"]}
    with pytest.raises(BudgetError, match=r"cannot be decided.*'weights'.*single tensors"):
        evenly_zeroed(alone, sparse, plan)


def spaces_of(plan: Plan, **space: Any) -> dict[str, UnitSpace]:
    found = SearchSpace.model_validate({"sparsities": [0.5], **space})
    return allowed(found, plan)


# --- what a module costs


def macs_by_hand(visual: tuple[int, int]) -> int:
    first, second = visual
    return 64 * 9 * (first + first * second)


def test_parts_are_counted_by_hand(towers: tuple[nn.Module, Plan, list[Tensor]]) -> None:
    model, plan, _ = towers
    parts = ("macs@visual", "macs@text", "params@text", "params@see", "macs@visual.2")
    found = CostModel(model, plan, parts=parts).dense
    assert found.parts == {
        "macs@visual": macs_by_hand((12, 16)),
        "macs@text": 5 * (8 * 24 + 24 * 4),
        "params@text": 9 * 8 + 8 * 24 + 24 + 24 * 4 + 4,
        "params@see": 16 * 4 + 4,
        "macs@visual.2": 64 * 9 * 12 * 16,
    }
    assert found.macs == found.parts["macs@visual"] + found.parts["macs@text"] + 16 * 4
    assert found.as_dict()["macs@text"] == 1440


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_parts_of_any_policy_are_those_of_the_model(
    towers: tuple[nn.Module, Plan, list[Tensor]], seed: int
) -> None:
    model, plan, inputs = towers
    rng = np.random.default_rng(seed)
    gone = {
        unit: np.sort(rng.choice(atoms, rng.integers(atoms), replace=False))
        for unit, atoms in ((u.name, u.atoms) for u in plan.units.values())
    }
    gone = {unit: atoms for unit, atoms in gone.items() if len(atoms)}
    kept = {unit: plan.atoms[unit] - len(atoms) for unit, atoms in gone.items()}
    parts = ("macs@visual", "params@text")
    counted: Costs = count_costs(apply(model, plan, gone), inputs, 2, parts)
    assert CostModel(model, plan, parts=parts).price(kept).parts == counted.parts


# --- what is feasible


def test_each_tower_meets_its_own_limit(towers: tuple[nn.Module, Plan, list[Tensor]]) -> None:
    model, plan, _ = towers
    projection = projection_of(model, plan, "macs=30%@visual,macs=80%@text")
    found = projection.price(projection.project(dict.fromkeys(projection.spaces, 0)))
    dense = projection.cost.dense
    assert found.parts["macs@visual"] <= 0.3 * dense.parts["macs@visual"]
    assert 0.6 * dense.parts["macs@text"] < found.parts["macs@text"]
    assert found.parts["macs@text"] <= 0.8 * dense.parts["macs@text"]


def test_other_towers_are_left_alone(towers: tuple[nn.Module, Plan, list[Tensor]]) -> None:
    model, plan, _ = towers
    assert set(projection_of(model, plan, "macs=50%@text").spaces) == {"text.0", "text.1"}
    assert set(projection_of(model, plan, "macs=50%@text,params=90%").spaces) == set(plan.units)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("macs=50%@visul", "no module 'visul'. Did you mean 'visual'?"),
        ("macs=50%@text.0", "'text.0' has no macs of its own"),
        (
            "macs=1%@visual",
            "cannot be reached: macs=1%@visual .* the smallest that can be",
        ),
    ],
)
def test_limits_that_cannot_be_decided_or_reached(
    towers: tuple[nn.Module, Plan, list[Tensor]], budget: str, message: str
) -> None:
    model, plan, _ = towers
    with pytest.raises(BudgetError, match=message):
        projection_of(model, plan, budget)


def test_a_part_of_which_nothing_may_be_cut_is_refused() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3))
    )
    kept = load_space("default").model_copy(update={"protect": ("2",)})
    with pytest.raises(BudgetError, match="no unit that may be cut changes what it limits"):
        autoprune.prunable(model, inputs=[torch.rand(2, 3, 9, 9)], budget="macs@4=50%", space=kept)


def test_prunable_models_of_a_study_know_parts(
    towers: tuple[nn.Module, Plan, list[Tensor]],
) -> None:
    model, _, inputs = towers
    found = autoprune.prunable(model, inputs=inputs, budget="macs=50%@text")
    assert set(found.projection.spaces) == {"text.0", "text.1"}
