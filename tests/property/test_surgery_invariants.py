"""Invariants of surgery and costs over random small networks and random masks."""

import tempfile
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoprune.artifacts.weights import save_weights
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import outputs, randomised
from autoprune.surgery.discover import discover
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.solve import solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace
from autoprune.surgery.verify import TOLERANCE, sliced_equals_masked

SIZES = (8, 11)
BATCH = 2
Kind = str


def images(size: int = SIZES[0]) -> Tensor:
    return torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(size))


class Layer(nn.Module):
    """A convolution, perhaps a norm, and an activation through which no channel dies."""

    def __init__(self, inputs: int, outputs: int, spec: Mapping[str, Any]) -> None:
        super().__init__()
        size, groups = spec["kernel"], spec["groups"]
        self.conv = nn.Conv2d(
            inputs, outputs, size, padding=size // 2, groups=groups, bias=spec["bias"]
        )
        norms = {"batch": nn.BatchNorm2d(outputs), "group": nn.GroupNorm(gcd(outputs, 4), outputs)}
        self.norm = norms.get(spec["norm"], nn.Identity())

    def forward(self, x: Tensor) -> Any:
        return F.leaky_relu(self.norm(self.conv(x)), 0.3)


class Network(nn.Module):
    """Layers that follow, add to, or are laid beside what came before; then a head."""

    def __init__(self, specs: list[dict[str, Any]], head: str) -> None:
        super().__init__()
        self.kinds: list[Kind] = []
        self.layers = nn.ModuleList()
        width = 3
        for spec in specs:
            kind = spec["kind"]
            if kind == "residual" and width == 3:
                kind = "plain"  # the image itself cannot be pruned: no stream yet
            groups = {"depthwise": width, "grouped": spec["groups"]}.get(kind, 1)
            groups = gcd(width, groups)
            same = kind in ("residual", "depthwise")
            wide = width if same else spec["width"] * groups
            self.layers.append(Layer(width, wide, {**spec, "groups": groups}))
            self.kinds.append(kind)
            width = width + wide if kind == "concat" else wide
        self.head_kind = head
        places = 4 if head == "flat" else 1
        self.head = nn.Conv2d(width, 4, 1) if head == "conv" else nn.Linear(width * places, 4)

    def forward(self, x: Tensor) -> Any:
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            y = layer(x)
            x = x + y if kind == "residual" else torch.cat([x, y], 1) if kind == "concat" else y
        if self.head_kind == "conv":
            return self.head(x)
        return self.head(F.adaptive_avg_pool2d(x, 2 if self.head_kind == "flat" else 1).flatten(1))


SPECS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["plain", "residual", "concat", "depthwise", "grouped"]),
        "groups": st.sampled_from([2, 4]),
        "width": st.integers(1, 7),
        "kernel": st.sampled_from([1, 3]),
        "norm": st.sampled_from(["none", "batch", "batch", "group"]),
        "bias": st.booleans(),
    }
)


@st.composite
def networks(draw: st.DrawFn, grouped: bool) -> nn.Module:
    """A network in eval mode with random weights, statistics and affines."""
    specs: list[dict[str, Any]] = draw(st.lists(SPECS, min_size=1, max_size=5))
    if not grouped:
        specs = [{**s, "kind": s["kind"].replace("grouped", "plain")} for s in specs]
        specs = [{**s, "norm": s["norm"].replace("group", "batch")} for s in specs]
    head = draw(st.sampled_from(["conv", "pooled", "flat"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 1000)))
        network = Network(specs, head)
        return randomised(network, torch.Generator().manual_seed(1)).eval()


def traced(model: nn.Module) -> Plan:
    """The plan before verification, which takes most of the time."""
    return solve([trace(model, [images()])], state_tensors(model), BATCH)


@st.composite
def cases(draw: st.DrawFn, grouped: bool = True) -> tuple[nn.Module, Plan]:
    model = draw(networks(grouped))
    plan = traced(model)
    assume(plan.units)
    return model, plan


@st.composite
def masks(draw: st.DrawFn, plan: Plan) -> dict[str, Ids]:
    """Atoms to remove of some units, never all of one."""
    gone: dict[str, Ids] = {}
    for name, unit in plan.units.items():
        chosen = draw(st.sets(st.integers(0, unit.atoms - 1), max_size=unit.atoms - 1))
        if chosen:
            gone[name] = np.array(sorted(chosen))
    return gone


def kept(plan: Plan, gone: Mapping[str, Ids]) -> dict[str, int]:
    return {name: plan.units[name].atoms - index.size for name, index in gone.items()}


few = settings(max_examples=40)


@few
@given(st.data())
def test_sliced_equals_masked(data: st.DataObject) -> None:
    model, plan = data.draw(cases())
    gone = data.draw(masks(plan))
    for size in SIZES:
        assert sliced_equals_masked(model, plan, gone, [images(size)]) <= TOLERANCE


@few
@given(st.data())
def test_every_unit_of_these_networks_is_believed(data: st.DataObject) -> None:
    model, found = data.draw(cases())
    plan = discover(model, [images()], np.random.default_rng(0))
    assert plan.rejected == {}
    assert list(plan.units) == list(found.units)
    assert all(unit.atoms > 1 for unit in plan.units.values())
    slots = [
        (part.tensor, part.dim, position)
        for unit in plan.units.values()
        for part in unit.slices
        for position in part.index.ravel().tolist()
    ]
    assert len(slots) == len(set(slots)), "no slot belongs to two atoms"
    for unit in plan.units.values():
        assert unit.makers
        assert unit.readers
        assert {part.index.shape[0] for part in unit.slices} == {unit.atoms}


@few
@given(st.data())
def test_the_price_is_what_the_sliced_model_costs(data: st.DataObject) -> None:
    model, plan = data.draw(cases())
    gone = data.draw(masks(plan))
    pruned = apply(model, plan, gone)
    price = CostModel(model, plan).price(kept(plan, gone))
    assert price == count_costs(pruned, [images()], BATCH)
    with FlopCounterMode(display=False) as counter:
        outputs(pruned, [images()])
    assert price.macs * 2 * BATCH == counter.get_total_flops()
    assert price.params == sum(parameter.numel() for parameter in pruned.parameters())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(pruned, path)
        assert price.size == path.stat().st_size


@few
@given(st.data())
def test_costs_never_rise_when_fewer_atoms_are_kept(data: st.DataObject) -> None:
    model, plan = data.draw(cases())
    prices = CostModel(model, plan)
    more, fewer = {}, {}
    for name, unit in plan.units.items():
        more[name] = data.draw(st.integers(1, unit.atoms))
        fewer[name] = data.draw(st.integers(1, more[name]))
    large, small = prices.price(more), prices.price(fewer)
    assert small.macs <= large.macs <= prices.dense.macs
    assert small.params <= large.params <= prices.dense.params
    assert small.size <= large.size <= prices.dense.size
    if fewer != more:
        assert small.macs < large.macs
        assert small.params < large.params


@few
@given(st.data())
def test_pruning_in_two_goes_is_pruning_in_one(data: st.DataObject) -> None:
    # groups that got narrower may go whole the second time, so there they are left out
    model, plan = data.draw(cases(grouped=False))
    first = data.draw(masks(plan))
    pruned = apply(model, plan, first)
    left = {
        name: np.setdiff1d(np.arange(unit.atoms), first.get(name, []))
        for name, unit in plan.units.items()
    }
    name = data.draw(st.sampled_from(sorted(left)))
    assume(left[name].size > 1)
    victim = data.draw(st.integers(0, left[name].size - 1))
    second = apply(pruned, traced(pruned), {name: np.array([victim])})
    gone = {**first, name: np.append(first.get(name, np.array([], np.int64)), left[name][victim])}
    at_once = apply(model, plan, gone)
    for key, tensor in at_once.state_dict().items():
        assert torch.equal(second.state_dict()[key], tensor), key
