"""Layers, grids and the builder of tables, on a device whose times anyone can work out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import inf, prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoprune.core.target import Target
from autoprune.cost.latency.build import Standing, TableBuilder
from autoprune.cost.latency.candidates import candidates
from autoprune.cost.latency.grid import Gap, Grid
from autoprune.cost.latency.layers import Call, Layer, Sizes, layers_of
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes import Runtime
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.latencies import Latencies
from autoprune.surgery.discover import plan_of
from autoprune.surgery.plan import Factor, Plan

TARGET = Target("fake", threads=1)


# --- layers


class Net(nn.Module):
    """A layer of each kind: plain, depthwise, grouped, transposed, flattened, and fixed."""

    def __init__(self, width: int = 8, out: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.plain = nn.Conv2d(width, 12, 3, padding=1)
        self.grouped = nn.Conv2d(12, 18, 3, padding=1, groups=3)
        self.transposed = nn.ConvTranspose2d(18, out, 2, stride=2)
        self.flat = nn.Linear(4 * out, 10)
        self.out = nn.Linear(10, 3)
        self.fixed = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        y = self.plain(self.depthwise(self.stem(x).relu()).relu()).relu()
        y = self.transposed(self.grouped(y).relu()).relu()
        y = nn.functional.adaptive_avg_pool2d(y, 2).flatten(1)
        return self.out(self.flat(y).relu()) + self.fixed(x.mean(1)[:, 0, :4])


def planned(model: nn.Module) -> Plan:
    return plan_of(model.eval(), [torch.zeros(2, 3, 8, 8)])


@pytest.fixture(scope="module")
def layers() -> dict[str, Layer]:
    plan = planned(Net())
    names = [term.weight or "" for term in plan.terms if term.operands]
    return dict(zip(names, layers_of(plan), strict=True))


def test_every_layer_is_there_in_order(layers: dict[str, Layer]) -> None:
    assert [name.partition(".")[0] for name in layers] == [
        *("stem", "depthwise", "plain", "grouped", "transposed", "flat", "out", "fixed"),
    ]
    assert all(layer.weight for layer in layers.values())


@pytest.mark.parametrize(
    ("name", "variables", "sizes", "shapes", "groups"),
    [
        ("stem", 1, (5,), ((2, 3, 8, 8), (5, 3, 3, 3), (5,)), 1),
        ("depthwise", 1, (5,), ((2, 5, 8, 8), (5, 1, 3, 3), (5,)), 5),
        ("depthwise", 1, (1,), ((2, 1, 8, 8), (1, 1, 3, 3), (1,)), 1),
        ("plain", 2, (5, 2), ((2, 5, 8, 8), (6, 5, 3, 3), (6,)), 1),
        ("grouped", 2, (2, 3), ((2, 6, 8, 8), (9, 2, 3, 3), (9,)), 3),
        ("transposed", 2, (3, 4), ((2, 9, 8, 8), (9, 4, 2, 2), (4,)), 1),
        ("flat", 2, (7, 3), ((7,), (2, 12), (12, 7)), None),  # four places of each channel
        ("out", 1, (7,), ((3,), (2, 7), (7, 3)), None),
        ("fixed", 0, (), ((3,), (2, 4), (4, 3)), None),
    ],
)
def test_a_call_has_the_shapes_of_its_sizes(
    layers: dict[str, Layer],
    name: str,
    variables: int,
    sizes: Sizes,
    shapes: Sequence[tuple[int, ...]],
    groups: int | None,
) -> None:
    layer = layers[f"{name}.weight"]
    assert len(layer.variables) == variables
    call = layer.call(sizes)
    assert call.shapes == shapes
    assert call.settings.get("groups") == groups


def test_the_calls_of_the_dense_model_are_its_layers(layers: dict[str, Layer]) -> None:
    model = Net()
    atoms = planned(model).atoms
    for name, layer in layers.items():
        call = layer.call([variable.value(atoms) for variable in layer.variables])
        shape = tuple(model.get_parameter(name).shape)
        assert {shape, shape[::-1]} & set(call.shapes), name


def test_layers_that_take_alike_share_a_key_in_every_model() -> None:
    """Widths are the variables, so they do not tell tables apart; what else there is does."""
    small, large = (layers_of(planned(Net(*widths))) for widths in ((8, 6), (16, 9)))
    assert [layer.key for layer in small] == [layer.key for layer in large]
    assert len({layer.key for layer in small}) == len(small)
    larger = layers_of(plan_of(Net().eval(), [torch.zeros(2, 3, 10, 10)]))
    same = [a.key == b.key for a, b in zip(small, larger, strict=True)]
    assert same[:5] == [False] * 5  # other images
    assert same[5:7] == [True, True]  # after the pooling they are alike


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1, stride=2)),
        (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=2, dilation=2)),
        (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 5, padding=2)),
        (nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1, bias=False)),
    ],
)
def test_what_is_computed_differently_has_another_key(one: nn.Module, other: nn.Module) -> None:
    keys = [
        layers_of(planned(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(8, 3, 1))))[0].key
        for layer in (one, other)
    ]
    assert keys[0] != keys[1]


# --- sizes that may be asked for


def test_candidates_are_the_sizes_of_the_levels(layers: dict[str, Layer]) -> None:
    plan = planned(Net())
    kept = {unit: (atoms, max(atoms // 2, 1)) for unit, atoms in plan.atoms.items()}
    found = candidates(layers.values(), kept)
    assert found[layers["depthwise.weight"].key] == [[4, 8]]
    assert found[layers["flat.weight"].key] == [[5, 10], [3, 6]]
    assert found[layers["fixed.weight"].key] == []


def test_layers_of_one_key_share_their_candidates() -> None:
    def layer(unit: str) -> Layer:
        axes = (((2, None), (1, 0)),)
        return Layer("aten.mm", axes, (), True, (Factor(0, {(unit,): 1}),), ())

    both = [layer("a"), layer("b")]
    assert both[0].key == both[1].key
    assert candidates(both, {"a": (8, 4), "b": (8, 2)}) == {both[0].key: [[2, 4, 8]]}


def test_of_very_many_sizes_some_are_taken_and_the_ends_always() -> None:
    units = [f"u{n}" for n in range(9)]
    variable = Factor(3, {(unit,): 1 for unit in units})
    layer = Layer("aten.mm", (((1, 0),),), (), True, (variable,), ())
    kept = dict.fromkeys(units, tuple(range(16, 0, -1)))
    ((found,),) = candidates([layer], kept).values()
    assert (found[0], found[-1]) == (3 + 9, 3 + 9 * 16)
    assert len(found) <= 12
    assert found == sorted(set(found))


# --- grids


def filled(grid: Grid, seconds: Callable[..., float]) -> Grid:
    """Measure the corners of a grid."""
    grid.seconds |= {sizes: seconds(*sizes) for sizes in grid.corners()}
    return grid


def refine(grid: Grid, gap: Gap, seconds: Callable[..., float]) -> None:
    line = grid.split(gap)
    measured = {sizes: seconds(*sizes) for sizes in grid.crossings(gap.axis, line)}
    grid.add_line(gap, line, measured)


def test_a_grid_begins_at_its_ends() -> None:
    grid = Grid([[8, 2, 4, 4], [5], [1, 9]])
    assert grid.candidates == [[2, 4, 8], [5], [1, 9]]
    assert grid.lines == [[2, 8], [5], [1, 9]]
    assert list(grid.corners()) == [(2, 5, 1), (2, 5, 9), (8, 5, 1), (8, 5, 9)]
    assert grid.gaps == [Gap(0, 2, 8, inf)]  # nothing lies between 1 and 9


@given(st.lists(st.integers(1, 64), min_size=2, max_size=2), st.integers(0, 8))
def test_what_is_bilinear_is_found_exactly_everywhere(at: list[int], more: int) -> None:
    def seconds(a: int, b: int) -> float:
        return 1 + 2 * a + 3 * b + 0.5 * a * b

    grid = filled(Grid([range(1, 65, 9), range(1, 65, 7)]), seconds)
    for _ in range(more):
        refine(grid, grid.gaps[0], seconds)
    assert grid.at(np.array([at])) == pytest.approx([seconds(*at)])
    assert all(gap.error in (inf, pytest.approx(0, abs=1e-9)) for gap in grid.gaps)


def test_what_was_measured_comes_back_and_between_is_linear() -> None:
    times = {4: 1.0, 8: 3.0, 16: 4.0}
    grid = filled(Grid([[4, 8, 16]]), lambda a: times[a])
    assert grid.at(np.array([[8]])) == pytest.approx([2.0])  # of 1 and 4, a third of the way
    refine(grid, grid.gaps[0], lambda a: times[a])
    sizes = np.array([[4], [6], [8], [12], [16]])
    assert grid.at(sizes) == pytest.approx([1, 2, 3, 3.5, 4])
    assert (grid.gaps, grid.error) == ([], 0.0)


def test_a_new_line_tells_how_wrong_the_grid_was_there() -> None:
    def seconds(a: int, b: int) -> float:
        return a * a + 0 * b

    grid = filled(Grid([[0, 2, 5, 8, 10], [1, 2]]), seconds)
    refine(grid, grid.gaps[0], seconds)
    assert grid.lines[0] == [0, 5, 10]
    # 50 was expected in the middle, and 25 found
    assert grid.gaps == [Gap(0, 0, 5, 25.0), Gap(0, 5, 10, 25.0)]
    assert grid.error == 25.0
    refine(grid, grid.gaps[0], seconds)
    assert grid.gaps == [Gap(0, 5, 10, 25.0)]  # between 0, 2 and 5 nothing is left


def test_a_gap_in_which_nothing_runs_is_given_up() -> None:
    grid = filled(Grid([[1, 4, 8], [1, 4, 8]]), lambda a, b: a + b)
    first, second = grid.gaps
    grid.add_line(first, 4, {})
    assert (grid.gaps, grid.lines) == ([second], [[1, 8], [1, 8]])
    assert grid.at(np.array([[4, 4]])) == pytest.approx([8])


@given(st.sets(st.integers(0, 100), min_size=3, max_size=12))
def test_splitting_ends_with_every_candidate(sizes: set[int]) -> None:
    grid = filled(Grid([sorted(sizes)]), float)
    lines = set(grid.lines[0])
    while grid.gaps:
        gap = grid.gaps[0]
        line = grid.split(gap)
        assert gap.low < line < gap.high
        assert line in sizes - lines
        lines.add(line)
        refine(grid, gap, float)
    assert lines == sizes


def test_a_layer_without_variables_has_one_time() -> None:
    grid = filled(Grid([]), lambda: 2.5)
    assert grid.at(np.zeros((3, 0), np.int64)).tolist() == [2.5] * 3
    assert (grid.gaps, grid.error) == ([], 0.0)


# --- the builder


@dataclass
class FakeDevice:
    """A runtime whose time is a function of the shapes, and that moves a clock of its own."""

    seconds: Callable[[Call], float | None]
    busy: bool = False
    now: float = 0.0
    calls: list[Call] = field(default_factory=list)

    def time_call(self, call: Call, target: Target) -> Timing | None:
        assert target == TARGET
        self.calls.append(call)
        found = self.seconds(call)
        if found is None:
            return None
        self.now += 1.0
        return Timing(seconds=found, low=found, high=found, repeats=12, spread=0.0, busy=self.busy)

    def clock(self) -> float:
        return self.now


@dataclass
class Kept:
    """A store in memory."""

    rows: dict[str, dict[Sizes, float]] = field(default_factory=dict)

    def known(self, layer: str) -> dict[Sizes, float]:
        return dict(self.rows.get(layer, {}))

    def add(self, layer: str, sizes: Sequence[int], latency: Timing) -> None:
        own = self.rows.setdefault(layer, {})
        assert tuple(sizes) not in own, "measured twice"
        own[tuple(sizes)] = latency.seconds


def stairs(call: Call) -> float:
    """Time rises every 16 channels read and every 8 made."""
    (_, made), (_, read) = call.shapes
    return 1e-6 * (10 + -(-read // 16) * -(-made // 8))


def dense(name: str, blocks: tuple[str, ...] = ()) -> Layer:
    """A layer that reads and makes what two units say."""
    a, b = Factor(0, {(f"{name}.a",): 1}), Factor(0, {(f"{name}.b",): 1})
    return Layer("aten.mm", (((1, None), (1, 0)), ((1, None), (1, 1))), (), True, (a, b), blocks)


LAYER = dense("one")
WIDE = {LAYER.key: [list(range(8, 257, 8))] * 2}  # 32 x 32 points


def builder(device: FakeDevice, store: Any, told: list[Standing] | None = None) -> TableBuilder:
    return TableBuilder(
        cast(Runtime, device),
        TARGET,
        store,
        (lambda standing: None) if told is None else told.append,
        device.clock,
    )


def worst(grid: Grid, seconds: Callable[[Call], float], layer: Layer = LAYER) -> float:
    """Return the largest error over all candidates, as a share of the largest time."""
    points = np.array(np.meshgrid(*grid.candidates)).reshape(len(grid.candidates), -1).T
    truth = np.array([seconds(layer.call(list(map(int, at)))) for at in points])
    return float(np.abs(grid.at(points) - truth).max() / truth.max())


@pytest.mark.parametrize("error", [0.05, 0.02])
def test_it_stops_at_the_stated_error_long_before_all_was_measured(error: float) -> None:
    device = FakeDevice(stairs)
    grids, standing = builder(device, Kept()).build([LAYER], WIDE, error=error, limit_s=1e9)
    assert standing.error <= error
    assert worst(grids[LAYER.key], stairs) <= 2 * error
    assert 9 <= standing.measured == len(device.calls) < 32 * 32 / 3
    assert standing.open == 0
    assert standing.reused == 0


def test_with_no_error_allowed_everything_is_measured_once() -> None:
    small = {LAYER.key: [[8, 16, 24, 40, 64], [8, 16, 32, 40]]}
    device = FakeDevice(
        lambda call: 1e-6 * prod(n % 37 + 1 for n in call.shapes[1] + call.shapes[0])
    )
    grids, standing = builder(device, Kept()).build([LAYER], small, error=0.0, limit_s=1e9)
    assert standing.measured == 20
    assert standing.error == 0
    assert worst(grids[LAYER.key], lambda call: device.seconds(call) or 0) == pytest.approx(0)


def test_what_is_known_is_not_measured_again() -> None:
    store = Kept()
    first = FakeDevice(stairs)
    grids, standing = builder(first, store).build([LAYER], WIDE, error=0.02, limit_s=1e9)
    second = FakeDevice(stairs)
    again, told = builder(second, store).build([LAYER], WIDE, error=0.02, limit_s=1e9)
    assert second.calls == []
    assert (told.measured, told.reused) == (0, standing.measured)
    assert again[LAYER.key].lines == grids[LAYER.key].lines
    assert told.error <= 0.02


def test_what_another_model_measured_does_not_make_errors_look_small() -> None:
    """A wider model's times are in the store: they are no part of this model's latency."""
    store = Kept({LAYER.key: {(4096, 4096): stairs(LAYER.call((4096, 4096)))}})
    grids, standing = builder(FakeDevice(stairs), store).build(
        [LAYER], WIDE, error=0.02, limit_s=1e9
    )
    assert worst(grids[LAYER.key], stairs) <= 2 * 0.02
    assert standing.error <= 0.02
    fresh = builder(FakeDevice(stairs), Kept()).build([LAYER], WIDE, error=0.02, limit_s=1e9)[1]
    assert standing == fresh


def test_it_looks_where_most_time_is_wrong() -> None:
    """The layer that is used four times, and whose time is no straight line, gets the points."""
    rough, smooth = dense("rough"), Layer("aten.bmm", *(getattr(dense("s"), n) for n in FIELDS))

    def seconds(call: Call) -> float:
        read, made = (shape[1] for shape in call.shapes)
        return 1e-10 * read**2 * made if call.op == "aten.mm" else 1e-6 * read

    device = FakeDevice(seconds)
    layers = [*[rough] * 4, smooth]
    tables = {layer.key: [list(range(8, 257, 8))] * 2 for layer in layers}
    builder(device, Kept()).build(layers, tables, error=0.02, limit_s=1e9)
    counts = [sum(call.op == op for call in device.calls) for op in ("aten.mm", "aten.bmm")]
    assert counts[1] == 9  # each direction was looked into once
    assert counts[0] > 2 * counts[1]
    read, made = (
        {call.shapes[n][1] for call in device.calls if call.op == "aten.mm"} for n in (0, 1)
    )
    assert len(read) > 2 * len(made) == 6, "the direction in which the time is no straight line"


def test_a_layer_that_is_used_often_gets_more_points() -> None:
    rare, often = dense("rare"), Layer("aten.bmm", *(getattr(dense("o"), n) for n in FIELDS))
    device = FakeDevice(lambda call: 1e-10 * call.shapes[0][1] ** 2 * call.shapes[1][1])
    layers = [rare, *[often] * 50]
    tables = {layer.key: [list(range(8, 257, 8))] * 2 for layer in layers}
    builder(device, Kept()).build(layers, tables, error=0.01, limit_s=1e9)
    counts = [sum(call.op == op for call in device.calls) for op in ("aten.mm", "aten.bmm")]
    assert counts[0] == 9  # each direction was looked into once
    assert counts[1] > 9


FIELDS = ("axes", "settings", "weight", "variables", "blocks")


def test_a_busy_device_is_counted() -> None:
    device = FakeDevice(stairs, busy=True)
    standing = builder(device, Kept()).build([LAYER], WIDE, error=0.1, limit_s=1e9)[1]
    assert standing.busy == standing.measured > 0


def test_it_stops_when_the_time_is_over_and_what_it_has_can_be_used() -> None:
    device = FakeDevice(stairs)
    grids, standing = builder(device, Kept()).build([LAYER], WIDE, error=0.0, limit_s=30)
    assert 30 <= standing.seconds < 60  # the line that was begun is finished
    assert standing.measured == device.now
    assert standing.error > 0
    assert worst(grids[LAYER.key], stairs) < 0.2


def test_without_time_the_ends_are_measured_and_the_error_is_unknown() -> None:
    grids, standing = builder(FakeDevice(stairs), Kept()).build(
        [LAYER], WIDE, error=0.01, limit_s=0
    )
    assert (standing.measured, standing.error, standing.open) == (4, inf, 2)
    assert grids[LAYER.key].at(np.array([[8, 8]])) == pytest.approx(stairs(LAYER.call((8, 8))))


def test_a_layer_that_cannot_run_alone_has_no_table() -> None:
    other = Layer("aten.bmm", *(getattr(dense("o"), n) for n in FIELDS))
    device = FakeDevice(lambda call: stairs(call) if call.op == "aten.mm" else None)
    tables = WIDE | {other.key: [[8, 16, 24]] * 2}
    grids, standing = builder(device, Kept()).build([LAYER, other], tables, error=0.1, limit_s=1e9)
    assert grids.keys() == {LAYER.key}
    assert standing.error <= 0.1


def test_a_layer_that_runs_at_its_ends_alone_keeps_them() -> None:
    device = FakeDevice(lambda call: 1e-6 if {8, 256} >= {s[1] for s in call.shapes} else None)
    grids, standing = builder(device, Kept()).build([LAYER], WIDE, error=0.0, limit_s=1e9)
    assert grids[LAYER.key].lines == [[8, 256]] * 2
    assert standing.open == 0


def test_no_layers_are_done_at_once() -> None:
    grids, standing = builder(FakeDevice(stairs), Kept()).build([], {}, error=0.1, limit_s=1e9)
    assert (grids, standing.error, standing.measured) == ({}, 0.0, 0)


def test_progress_is_told_after_every_line() -> None:
    told: list[Standing] = []
    device = FakeDevice(stairs)
    builder(device, Kept(), told).build([LAYER], WIDE, error=0.02, limit_s=1e9)
    assert told[0].error == inf
    assert told[-1].error <= 0.02
    assert [one.measured for one in told] == sorted(one.measured for one in told)
    assert [one.seconds for one in told] == [one.measured for one in told]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(sqlite_url(tmp_path / "latency.db"))) as opened:
        yield opened


def test_the_database_keeps_tables_of_every_layer(
    database: Database, layers: Mapping[str, Layer]
) -> None:
    """Also of one that no policy changes."""
    plan = planned(Net())
    own = list(layers.values())
    kept = {unit: (atoms, max(atoms // 2, 1)) for unit, atoms in plan.atoms.items()}
    device = FakeDevice(lambda call: 1e-6 * sum(map(prod, call.shapes)))
    for measured in (True, False):
        store = Latencies(database, {"cpu": "fake"}, TARGET)
        grids, standing = builder(device, store).build(
            own, candidates(own, kept), error=0.01, limit_s=1e9
        )
        assert grids.keys() == {layer.key for layer in own}
        assert (standing.measured > 0, standing.reused > 0) == (measured, not measured)
    fixed = layers["fixed.weight"]
    assert grids[fixed.key].at(np.zeros((1, 0), np.int64)) == pytest.approx(1e-6 * (3 + 8 + 12))
