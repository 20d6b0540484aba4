"""Units of small networks against ones worked out by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.solve import UNUSED, solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace

OUTPUT = "is an output of the model"
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Parts, in the order given, and what the forward does with them."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def discovered(model: nn.Module, inputs: Tensor = IMAGES) -> Plan:
    return discover(model, [inputs], np.random.default_rng(0))


def makes(index: list[list[int]]) -> tuple[bool, list[list[int]]]:
    return False, index


def reads(index: list[list[int]]) -> tuple[bool, list[list[int]]]:
    return True, index


def each(count: int, start: int = 0) -> list[list[int]]:
    """One slot for each atom, in order."""
    return [[start + position] for position in range(count)]


def slices(plan: Plan, unit: str) -> dict[str, tuple[bool, list[list[int]]]]:
    parts = plan.units[unit].slices
    table = {f"{part.tensor}[{part.dim}]": (part.reads, part.index.tolist()) for part in parts}
    assert len(table) == len(parts)
    return table


def atoms(plan: Plan) -> Mapping[str, int]:
    return {name: unit.atoms for name, unit in plan.units.items()}


def test_a_chain_with_norms_and_a_flattened_linear_head() -> None:
    model = nn.Sequential(
        conv(3, 6, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        conv(6, 4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    plan = discovered(model)
    assert list(atoms(plan).items()) == [("0", 6), ("3", 4)]
    assert slices(plan, "0") == {
        "0.weight[0]": makes(each(6)),
        "1.weight[0]": makes(each(6)),
        "1.bias[0]": makes(each(6)),
        "1.running_mean[0]": makes(each(6)),
        "1.running_var[0]": makes(each(6)),
        "3.weight[1]": reads(each(6)),
    }
    assert slices(plan, "3") == {
        "3.weight[0]": makes(each(4)),
        "3.bias[0]": makes(each(4)),
        "7.weight[1]": reads([[0, 1], [2, 3], [4, 5], [6, 7]]),
    }
    assert plan.sealed["7.weight[0]"] == plan.sealed["7.bias[0]"] == OUTPUT
    assert plan.sealed["0.weight[1]"].startswith("aten.convolution")
    assert plan.sealed["0.weight[2]"].startswith("aten.convolution")
    owned = {f"{p.tensor}[{p.dim}]" for unit in plan.units.values() for p in unit.slices}
    assert owned.isdisjoint(plan.sealed)
    assert len(owned | set(plan.sealed)) == 16  # each dimension above size 1 is in one of them
    assert plan.rejected == {}


def test_makers_and_readers_part_the_slices() -> None:
    unit = discovered(nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 4))).units["0"]
    assert [part.tensor for part in unit.makers] == ["0.weight", "0.bias"]
    assert [part.tensor for part in unit.readers] == ["2.weight"]


def test_a_residual_without_projection_couples_every_layer_that_adds() -> None:
    model = Net(
        lambda m, x: m.head(relu((y := m.stem(x)) + m.b(relu(m.a(y))))),
        stem=conv(3, 8),
        a=conv(8, 6),
        b=conv(6, 8, bias=False),
        head=conv(8, 4),
    )
    plan = discovered(model)
    assert atoms(plan) == {"stem": 8, "a": 6}
    assert slices(plan, "stem") == {
        "stem.weight[0]": makes(each(8)),
        "stem.bias[0]": makes(each(8)),
        "a.weight[1]": reads(each(8)),
        "b.weight[0]": makes(each(8)),
        "head.weight[1]": reads(each(8)),
    }
    assert slices(plan, "a") == {
        "a.weight[0]": makes(each(6)),
        "a.bias[0]": makes(each(6)),
        "b.weight[1]": reads(each(6)),
    }


def test_a_projection_parts_the_residual_stream() -> None:
    model = Net(
        lambda m, x: m.head(relu(m.proj(y := m.stem(x)) + m.a(y))),
        stem=conv(3, 5, bias=False),
        a=conv(5, 7, bias=False),
        proj=conv(5, 7, 1, bias=False),
        head=conv(7, 2),
    )
    plan = discovered(model)
    assert slices(plan, "stem") == {
        "stem.weight[0]": makes(each(5)),
        "a.weight[1]": reads(each(5)),
        "proj.weight[1]": reads(each(5)),
    }
    assert slices(plan, "a") == {
        "a.weight[0]": makes(each(7)),
        "proj.weight[0]": makes(each(7)),
        "head.weight[1]": reads(each(7)),
    }
    assert list(plan.units) == ["stem", "a"]


def test_a_depthwise_convolution_belongs_to_the_channels_it_filters() -> None:
    plan = discovered(nn.Sequential(conv(3, 8), conv(8, 8, groups=8), nn.ReLU(), conv(8, 4, 1)))
    assert atoms(plan) == {"0": 8}
    assert slices(plan, "0") == {
        "0.weight[0]": makes(each(8)),
        "0.bias[0]": makes(each(8)),
        "1.weight[0]": makes(each(8)),
        "1.bias[0]": makes(each(8)),
        "3.weight[1]": reads(each(8)),
    }


def test_dense_concatenation_gives_each_source_its_own_stretch() -> None:
    model = Net(
        lambda m, x: m.c(relu(m.norm(torch.cat([y := m.a(x), m.b(relu(y))], dim=1)))),
        a=conv(3, 5, bias=False),
        b=conv(5, 3, bias=False),
        norm=nn.BatchNorm2d(8),
        c=conv(8, 2),
    )
    plan = discovered(model)
    norm = ["norm.weight[0]", "norm.bias[0]", "norm.running_mean[0]", "norm.running_var[0]"]
    assert slices(plan, "a") == {
        "a.weight[0]": makes(each(5)),
        "b.weight[1]": reads(each(5)),
        "c.weight[1]": reads(each(5)),
        **{name: makes(each(5)) for name in norm},
    }
    assert slices(plan, "b") == {
        "b.weight[0]": makes(each(3)),
        "c.weight[1]": reads(each(3, start=5)),
        **{name: makes(each(3, start=5)) for name in norm},
    }


def test_a_map_concatenated_with_itself_owns_two_slots_of_its_reader() -> None:
    model = Net(lambda m, x: m.b(torch.cat([y := m.a(x), y], 1)), a=conv(3, 3), b=conv(6, 2))
    assert slices(discovered(model), "a")["b.weight[1]"] == reads([[0, 3], [1, 4], [2, 5]])


def test_units_that_would_share_a_name_are_numbered() -> None:
    model = Net(
        lambda m, x: m.head(torch.cat([m.a(x), m.b(x)], 1) + m.wide(x)),
        wide=conv(3, 8, bias=False),
        a=conv(3, 5, bias=False),
        b=conv(3, 3, bias=False),
        head=conv(8, 2),
    )
    plan = discovered(model)
    assert atoms(plan) == {"wide": 5, "wide#2": 3}
    assert slices(plan, "wide#2") == {
        "wide.weight[0]": makes(each(3, start=5)),
        "b.weight[0]": makes(each(3)),
        "head.weight[1]": reads(each(3, start=5)),
    }


def test_a_module_used_twice_ties_its_two_sides() -> None:
    model = Net(
        lambda m, x: m.head(relu(m.again(relu(m.again(relu(m.stem(x))))))),
        stem=conv(3, 8),
        again=conv(8, 8),
        head=conv(8, 2),
    )
    plan = discovered(model)
    assert atoms(plan) == {"stem": 8}
    assert slices(plan, "stem") == {
        "stem.weight[0]": makes(each(8)),
        "stem.bias[0]": makes(each(8)),
        "again.weight[0]": makes(each(8)),
        "again.weight[1]": reads(each(8)),
        "again.bias[0]": makes(each(8)),
        "head.weight[1]": reads(each(8)),
    }


def test_tied_weights_are_known_by_their_first_name() -> None:
    model = Net(
        lambda m, x: m.head(relu(m.b(relu(m.a(relu(m.stem(x))))))),
        stem=conv(3, 8, bias=False),
        a=conv(8, 8),
        b=conv(8, 8),
        head=conv(8, 2),
    )
    model.get_submodule("b").weight = model.get_submodule("a").weight
    plan = discovered(model)
    assert "b.weight" not in plan.shapes
    assert slices(plan, "stem") == {
        "stem.weight[0]": makes(each(8)),
        "a.weight[0]": makes(each(8)),
        "a.weight[1]": reads(each(8)),
        "a.bias[0]": makes(each(8)),
        "b.bias[0]": makes(each(8)),
        "head.weight[1]": reads(each(8)),
    }


def test_a_one_channel_gate_is_no_depthwise_convolution() -> None:
    model = Net(
        lambda m, x: m.head(relu(y := m.stem(x)) * m.gate(y).sigmoid()),
        stem=conv(3, 8),
        gate=conv(8, 1),
        head=conv(8, 2),
    )
    plan = discovered(model)
    assert slices(plan, "stem") == {
        "stem.weight[0]": makes(each(8)),
        "stem.bias[0]": makes(each(8)),
        "gate.weight[1]": reads(each(8)),
        "head.weight[1]": reads(each(8)),
    }
    assert not any(name.startswith(("gate.weight[0]", "gate.bias")) for name in plan.sealed)


def test_a_convolution_of_one_channel_prunes_its_outputs() -> None:
    model = nn.Sequential(conv(1, 6), nn.ReLU(), conv(6, 1))
    plan = discovered(model, IMAGES[:, :1])
    assert slices(plan, "0") == {
        "0.weight[0]": makes(each(6)),
        "0.bias[0]": makes(each(6)),
        "2.weight[1]": reads(each(6)),
    }


def test_few_large_groups_lose_the_same_places_in_each() -> None:
    plan = discovered(nn.Sequential(conv(3, 8), conv(8, 8, groups=2), nn.ReLU(), conv(8, 6)))
    pairs = [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert slices(plan, "0") == {
        "0.weight[0]": makes(pairs),
        "0.bias[0]": makes(pairs),
        "1.weight[1]": reads(each(4)),
    }
    assert slices(plan, "1") == {
        "1.weight[0]": makes(pairs),
        "1.bias[0]": makes(pairs),
        "3.weight[1]": reads(pairs),
    }


def test_many_small_groups_go_whole() -> None:
    plan = discovered(nn.Sequential(conv(3, 8), conv(8, 12, groups=4), nn.ReLU(), conv(12, 6)))
    pairs = [[0, 1], [2, 3], [4, 5], [6, 7]]
    triples = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert slices(plan, "0") == {
        "0.weight[0]": makes(pairs),
        "0.bias[0]": makes(pairs),
        "1.weight[0]": makes(triples),
        "1.bias[0]": makes(triples),
        "3.weight[1]": reads(triples),
    }
    assert "groups" in plan.sealed["1.weight[1]"]


def test_channels_that_can_only_go_all_together_are_no_unit() -> None:
    # the convolution gives its two groups up whole, the norm one place in each: nothing is left
    model = nn.Sequential(
        conv(3, 2), conv(2, 6, groups=2), nn.GroupNorm(2, 6), conv(6, 4), nn.ReLU(), conv(4, 2)
    )
    plan = solve([trace(model, [IMAGES])], state_tensors(model), 2)
    assert list(plan.units) == ["3"]
    assert plan.sealed["0.weight[0]"] == "can only go all together"


def test_a_transposed_convolution_makes_its_second_dimension() -> None:
    up = nn.ConvTranspose2d(8, 6, 2, stride=2)
    plan = discovered(nn.Sequential(conv(3, 8), nn.ReLU(), up, nn.ReLU(), conv(6, 2)))
    assert slices(plan, "0") == {
        "0.weight[0]": makes(each(8)),
        "0.bias[0]": makes(each(8)),
        "2.weight[0]": reads(each(8)),
    }
    assert slices(plan, "2") == {
        "2.weight[1]": makes(each(6)),
        "2.bias[0]": makes(each(6)),
        "4.weight[1]": reads(each(6)),
    }


def test_a_layer_norm_belongs_to_the_width_it_normalises() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2))
    assert slices(discovered(model), "0") == {
        "0.weight[0]": makes(each(6)),
        "0.bias[0]": makes(each(6)),
        "1.weight[0]": makes(each(6)),
        "1.bias[0]": makes(each(6)),
        "3.weight[1]": reads(each(6)),
    }


def test_an_rms_norm_follows_the_width_it_normalises() -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.RMSNorm(6), nn.ReLU(), nn.Linear(6, 2))
    plan = discovered(model)
    assert slices(plan, "0") == {
        "0.weight[0]": makes(each(6)),
        "0.bias[0]": makes(each(6)),
        "1.weight[0]": makes(each(6)),
        "3.weight[1]": reads(each(6)),
    }
    assert apply(model, plan, {"0": np.array([0, 4])}).get_submodule("1").normalized_shape == (4,)


def test_an_op_without_a_rule_seals_what_it_touches_with_its_name() -> None:
    model = Net(
        lambda m, x: m.c(relu(m.b(m.a(x).cumsum(1)))), a=conv(3, 8), b=conv(8, 6), c=conv(6, 2)
    )
    plan = discovered(model)
    assert list(plan.units) == ["b"]
    for name in ("a.weight[0]", "a.bias[0]"):
        assert plan.sealed[name].startswith("aten.cumsum")


def test_an_output_that_is_also_used_inside_keeps_all_its_channels() -> None:
    model = Net(
        lambda m, x: {"map": (y := relu(m.a(x))), "scores": m.c(relu(m.b(y)))},
        a=conv(3, 8),
        b=conv(8, 6),
        c=conv(6, 2),
    )
    plan = discovered(model)
    assert list(plan.units) == ["b"]
    for name in ("a.weight[0]", "a.bias[0]", "b.weight[1]"):
        assert plan.sealed[name] == OUTPUT


def test_a_parameter_the_forward_never_uses_is_sealed() -> None:
    model = Net(lambda m, x: m.b(relu(m.a(x))), a=conv(3, 8), b=conv(8, 2), extra=nn.Linear(8, 8))
    plan = discovered(model)
    unused = [name for name, why in plan.sealed.items() if why == UNUSED]
    assert unused == ["extra.weight[0]", "extra.weight[1]", "extra.bias[0]"]


def test_a_parameter_of_the_model_itself_gives_the_unit_its_name() -> None:
    model = Net(lambda m, x: m.b(relu(x.flatten(1)[:, :6] @ m.w)), b=nn.Linear(4, 2))
    model.w = nn.Parameter(torch.linspace(-1, 1, 24).reshape(6, 4).cos())
    plan = discovered(model)
    assert slices(plan, "w") == {"w[1]": makes(each(4)), "b.weight[1]": reads(each(4))}


def test_an_encoder_tied_to_its_decoder_is_cut_on_both_sides() -> None:
    model = Net(lambda m, x: relu(m.code(x.flatten(1))) @ m.code.weight, code=nn.Linear(192, 5))
    plan = discovered(model)
    assert atoms(plan) == {"code": 5}
    assert slices(plan, "code") == {
        "code.weight[0]": reads(each(5)),
        "code.bias[0]": makes(each(5)),
    }


def test_layers_after_a_spatial_mean_are_coupled_one_to_one() -> None:
    model = Net(lambda m, x: m.b(m.a(x).mean((2, 3))), a=conv(3, 4), b=nn.Linear(4, 2))
    assert slices(discovered(model), "a")["b.weight[1]"] == reads(each(4))


def test_squeeze_and_excite_scales_the_channels_it_reads() -> None:
    model = Net(
        lambda m, x: m.head((y := relu(m.a(x))) * m.up(relu(m.down(y.mean((2, 3), True))))),
        a=conv(3, 8, bias=False),
        down=conv(8, 4, 1, bias=False),
        up=conv(4, 8, 1, bias=False),
        head=conv(8, 2),
    )
    plan = discovered(model)
    assert slices(plan, "a") == {
        "a.weight[0]": makes(each(8)),
        "down.weight[1]": reads(each(8)),
        "up.weight[0]": makes(each(8)),
        "head.weight[1]": reads(each(8)),
    }
    assert atoms(plan) == {"a": 8, "down": 4}


def test_two_traces_find_the_same_plan() -> None:
    def build(width: int) -> nn.Module:
        return nn.Sequential(conv(3, width), nn.BatchNorm2d(width), nn.ReLU(), conv(width, 4))

    first, second = discovered(build(6)), discovered(build(6), IMAGES[:1])
    assert (first.atoms, first.kinds) == (second.atoms, second.kinds)
    assert list(first.units) == list(second.units)
    assert discovered(build(7)).atoms != first.atoms


@pytest.mark.parametrize("batch", [1, 2])
def test_the_trace_neither_changes_the_model_nor_its_mode(batch: int) -> None:
    model = nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), conv(6, 2))
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    solve([trace(model, [IMAGES[:batch]])], state_tensors(model), batch)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_removed_positions_are_merged_over_units() -> None:
    model = Net(
        lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], 1)),
        a=conv(3, 4),
        b=conv(3, 3),
        c=conv(7, 2),
    )
    gone = discovered(model).cut({"a": np.array([1, 3]), "b": np.array([0])})
    found = {
        name: {d: index.tolist() for d, index in dims.items()}
        for name, dims in gone.positions.items()
    }
    assert found == {
        "a.weight": {0: [1, 3]},
        "a.bias": {0: [1, 3]},
        "b.weight": {0: [0]},
        "b.bias": {0: [0]},
        "c.weight": {1: [1, 3, 4]},
    }
