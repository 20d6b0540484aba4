"""What a model's inventory counts, by hand, and what a search space allows for it."""

import json
from io import StringIO

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import autoprune
from autoprune import units_api
from autoprune.errors import ConfigError, ModelError
from autoprune.reporting.inventory import Inventory, inventory
from autoprune.reporting.model_terminal import print_inventory, print_space_check
from autoprune.reporting.space_check import UnitAllowance, space_check
from autoprune.reporting.tables import PlainConsole
from autoprune.space.schema import SearchSpace
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan

SPACE = SearchSpace.model_validate(
    {
        "methods": ["channel.l1", "channel.taylor"],
        "sparsities": [0.25, 0.5],
        "units": [{"match": "inner", "step": 6}],
        "protect": ["stem"],
    }
)


@pytest.fixture
def found(net: nn.Module, plan: Plan) -> Inventory:
    return inventory(net, plan)


def test_parameters_are_counted_once_for_each_unit(found: Inventory) -> None:
    # stem 72, norm 16, inner 864 + 12, its norm 24, outer 864 + 8, head 24 + 3
    assert found.params == 72 + 16 + 876 + 24 + 872 + 27
    stem, inner = found.units
    assert (stem.name, stem.atoms, inner.name, inner.atoms) == ("stem", 8, "inner", 12)
    assert stem.params == 72 + 16 + 864 + 872 + 24
    assert inner.params == 876 + 24 + 864
    assert inner.share == pytest.approx(inner.params / found.params)


def test_makers_and_readers_are_named(found: Inventory) -> None:
    inner = found.units[1]
    assert inner.readers == ("outer.weight[1]",)
    assert {"inner.weight[0]", "inner.bias[0]", "inner_norm.weight[0]"} <= set(inner.makers)
    assert found.units[0].readers == ("inner.weight[1]", "head.weight[1]")


def test_the_prunable_share_is_of_convolutions_and_linear_layers(found: Inventory) -> None:
    assert found.layer_params == 72 + 876 + 872 + 27
    assert found.prunable == pytest.approx(1 - 3 / found.layer_params)  # all but the head's bias


def test_sealed_dimensions_leave_kernels_out(found: Inventory) -> None:
    assert [(e.tensor, e.dim, e.size) for e in found.sealed] == [
        ("head.weight", 0, 3),
        ("head.bias", 0, 3),
    ]
    assert all("output" in entry.reason for entry in found.sealed)


def test_projections_of_attention_are_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.scale = nn.Parameter(torch.ones(8))
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.attention(x, x, x)[0] * self.scale)
            return logits

    net = Net().eval()
    found = inventory(net, discover(net, [torch.randn(2, 5, 8)], np.random.default_rng(0)))
    assert found.params == 4 * (64 + 8) + 8 + 27
    assert found.layer_params == found.params - 8


def test_the_inventory_is_plain_json(found: Inventory) -> None:
    content = json.loads(json.dumps(found.to_dict()))
    assert content["units"][1]["readers"] == ["outer.weight[1]"]
    assert content["rejected"] == {}


def test_units_are_found_through_the_public_door(net: nn.Module) -> None:
    found = autoprune.units(net, [torch.randn(2, 1, 6, 6)])
    assert isinstance(found, autoprune.Inventory)
    assert [unit.name for unit in found.units] == ["stem", "inner"]
    with pytest.raises(ModelError, match="forward raised"):
        autoprune.units(net, [torch.randn(2, 3, 6, 6)])


def test_a_space_check_tells_every_unit(plan: Plan) -> None:
    found = space_check(SPACE, plan)
    methods = ("channel.l1", "channel.taylor")
    assert found.units == [
        UnitAllowance(unit="stem", atoms=8, left_out="protected"),
        UnitAllowance(unit="inner", atoms=12, methods=methods, kept=(12, 6)),
    ]
    assert found.policies == 1 + 2 * 1
    wide = SPACE.model_copy(update={"step": 99, "units": (), "protect": ()})
    reasons = [unit.left_out for unit in space_check(wide, plan).units]
    assert reasons == ["too small for any of its sparsities"] * 2


def test_a_space_with_an_unknown_method_is_refused(net: nn.Module) -> None:
    odd = SPACE.model_copy(update={"methods": ("channel.l3",)})
    with pytest.raises(ConfigError, match=r"Unknown method 'channel\.l3'"):
        units_api.check_space(odd, net, [torch.randn(2, 1, 6, 6)])


def test_texts_hold_what_matters(found: Inventory, plan: Plan) -> None:
    text = StringIO()
    console = PlainConsole(text, 120)
    print_inventory(found, console)
    print_space_check(space_check(SPACE, plan), console)
    shown = text.getvalue()
    for part in (
        "99.8% of the 1.85 k",
        "is an output of the model",
        "stem +2",
        "12 6",
        "add to more than 100%",
    ):
        assert part in shown
    assert "Methods: channel.l1, channel.taylor." in shown
    assert "1 of 2 units may be pruned" in shown
