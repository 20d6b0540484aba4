"""Shadows against full-size arrays, and how they pass through the basic ops."""

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autoprune.surgery.ids import NO_ID, Ids, IdTable
from autoprune.surgery.op import Record
from autoprune.surgery.shadow import Shadow, Unruled, axis_track, lift, line, reshape, varying
from autoprune.surgery.trace import TraceMode

Shape = tuple[int, ...]


@st.composite
def shapes_of_equal_size(draw: st.DrawFn) -> tuple[Shape, Shape]:
    factors = draw(st.lists(st.sampled_from([2, 2, 3, 5]), max_size=5))

    def shape() -> Shape:
        order = draw(st.one_of(st.just(factors), st.permutations(factors)))
        marks = draw(st.lists(st.integers(0, len(order)), max_size=4).map(sorted))
        bounds = [0, *marks, len(order)]
        return tuple(prod(order[a:b]) for a, b in pairwise(bounds))

    return shape(), shape()


@st.composite
def tracks(draw: st.DrawFn, shape: Shape) -> Ids:
    """An array over some axes of ``shape``; often all ids differ, sometimes few do."""
    own = [size if draw(st.booleans()) else 1 for size in shape]
    count = prod(own)
    distinct = draw(st.booleans())
    values = (
        range(count)
        if distinct
        else draw(st.lists(st.integers(NO_ID, 1), min_size=count, max_size=count))
    )
    return np.array(list(values), np.int64).reshape(own)


@given(st.data())
def test_reshape_agrees_with_an_array_of_full_size(data: st.DataObject) -> None:
    old, new = data.draw(shapes_of_equal_size())
    track = data.draw(tracks(old))
    full = np.broadcast_to(track, old).reshape(new)
    result = reshape(track, old, new)
    assert result.ndim == len(new)
    assert np.array_equal(np.broadcast_to(result, new), full)
    for axis, size in enumerate(new):
        constant = bool((full == full.take([0], axis=axis)).all())
        assert result.shape[axis] == (1 if constant else size)


@given(st.data())
def test_reshaping_back_is_the_identity_for_channels_on_one_axis(data: st.DataObject) -> None:
    old, new = data.draw(shapes_of_equal_size())
    axis = data.draw(st.integers(0, len(old) - 1))
    track = axis_track(np.arange(old[axis]), axis, len(old))
    assert np.array_equal(reshape(reshape(track, old, new), new, old), track)


def test_reshape_builds_nothing_where_the_track_does_not_vary() -> None:
    track = axis_track(np.arange(4), 1, 4)
    big = (1_000_000, 4, 1_000, 1_000)
    assert reshape(track, big, (1_000_000, 2, 2, 1_000_000)).shape == (1, 2, 2, 1)


def test_line_refuses_channels_spread_over_two_axes() -> None:
    assert line(axis_track(np.arange(3), 1, 3), 1).tolist() == [0, 1, 2]
    with pytest.raises(Unruled, match="several axes"):
        line(np.arange(4).reshape(1, 2, 2), 1)


def test_lift_and_varying() -> None:
    track = lift(np.arange(3).reshape(3, 1), 4)
    assert track.shape == (1, 1, 3, 1)
    assert varying(track) == {2}


class World:
    """A record with named tensors whose first or given axis carries ids."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors
        self.record = Record(IdTable(tensors))

    def carry(self, name: str, axis: int) -> Tensor:
        tensor = self.tensors[name]
        own = self.record.ids.of(name, axis)
        assert own is not None
        old = self.record.shadow(tensor).tracks
        self.record.shadows[tensor] = Shadow((*old, axis_track(own, axis, tensor.ndim)), True)
        return tensor

    def id(self, name: str, axis: int, position: int) -> int:
        own = self.record.ids.of(name, axis)
        assert own is not None
        return int(own[position])

    def run(self, function: Any, *args: Any) -> tuple[Ids, ...]:
        with torch.no_grad(), TraceMode(self.record):
            out = function(*args)
        tracks = self.record.shadow(out).tracks
        axes = [axis for track in tracks for axis in varying(track)]
        assert len(axes) == len(set(axes)), "tracks of one tensor vary on disjoint axes"
        assert all(
            size in (1, whole)
            for track in tracks
            for size, whole in zip(track.shape, out.shape, strict=True)
        )
        return tracks

    @property
    def joined(self) -> set[frozenset[int]]:
        edges = [zip(a.tolist(), b.tolist(), strict=True) for a, b in self.record.ids.edges]
        return {frozenset(pair) for pairs in edges for pair in pairs if pair[0] != pair[1]}

    @property
    def sealed(self) -> set[int]:
        return {int(one) for ids, _ in self.record.ids.seals for one in ids}


def test_adding_joins_entry_by_entry() -> None:
    world = World(a=torch.ones(2, 3, 4), b=torch.ones(2, 3, 4))
    (track,) = world.run(torch.add, world.carry("a", 1), world.carry("b", 1))
    pairs = {frozenset({world.id("a", 1, n), world.id("b", 1, n)}) for n in range(3)}
    assert world.joined == pairs
    assert world.sealed == set()
    assert track.shape == (1, 3, 1)


def test_adding_lifts_an_operand_with_fewer_axes() -> None:
    world = World(a=torch.ones(2, 3, 4), b=torch.ones(3, 1))
    world.run(torch.mul, world.carry("a", 1), world.carry("b", 0))
    assert frozenset({world.id("a", 1, 2), world.id("b", 0, 2)}) in world.joined
    assert world.sealed == set()


def test_an_operand_of_size_one_seals_nothing() -> None:
    world = World(a=torch.ones(2, 3, 4))
    (track,) = world.run(torch.mul, world.carry("a", 1), torch.ones(2, 1, 4))
    assert track.ravel().tolist() == [world.id("a", 1, n) for n in range(3)]
    assert world.sealed == set()


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 1)])
def test_a_constant_of_full_size_seals_what_it_meets(shape: Shape) -> None:
    world = World(a=torch.ones(2, 3, 4))
    world.run(torch.add, world.carry("a", 1), torch.ones(shape))
    assert world.sealed == {world.id("a", 1, n) for n in range(3)}


def test_channels_on_different_axes_stay_apart() -> None:
    world = World(a=torch.ones(3, 1), b=torch.ones(1, 4))
    first, second = world.run(torch.add, world.carry("a", 0), world.carry("b", 1))
    assert [*varying(first), *varying(second)] == [0, 1]
    assert world.joined == set()
    assert world.sealed == set()


def test_a_whole_axis_that_one_operand_only_stretches_over_is_sealed() -> None:
    world = World(a=torch.ones(3, 4), b=torch.ones(3, 4))
    world.run(torch.add, world.carry("a", 0), world.carry("b", 1))
    assert world.sealed == set(range(world.record.ids.count)) - {
        *(world.id("a", 1, n) for n in range(4)),
        *(world.id("b", 0, n) for n in range(3)),
    }


def test_an_entry_that_meets_no_id_is_sealed_and_the_rest_joined() -> None:
    world = World(a=torch.ones(2, 2), b=torch.ones(2, 3))
    a, b = world.carry("a", 1), world.carry("b", 1)

    def pad_and_add() -> Tensor:
        return torch.cat([a, torch.ones(2, 1)], dim=1) + b

    world.run(pad_and_add)
    assert world.joined == {
        frozenset({world.id("a", 1, n), world.id("b", 1, n)}) for n in range(2)
    }
    assert world.sealed == {world.id("b", 1, 2)}


def test_cat_along_the_channels_lays_ids_end_to_end() -> None:
    world = World(a=torch.ones(1, 2, 4), b=torch.ones(1, 3, 4))
    a, b = world.carry("a", 1), world.carry("b", 1)
    (track,) = world.run(lambda: torch.cat([b, torch.ones(1, 2, 4), a], dim=-2))
    b_ids = [world.id("b", 1, n) for n in range(3)]
    assert track.ravel().tolist() == [*b_ids, NO_ID, NO_ID, *(world.id("a", 1, n) for n in (0, 1))]
    assert world.joined == set()


def test_cat_along_another_axis_joins_the_channels() -> None:
    world = World(a=torch.ones(1, 2, 4), b=torch.ones(1, 2, 3))
    a, b = world.carry("a", 1), world.carry("b", 1)
    (track,) = world.run(lambda: torch.cat([a, b], dim=2))
    assert track.shape == (1, 2, 1)
    assert world.joined == {
        frozenset({world.id("a", 1, n), world.id("b", 1, n)}) for n in range(2)
    }
    assert world.sealed == set()


def test_cat_along_another_axis_with_a_constant_seals() -> None:
    world = World(a=torch.ones(1, 2, 4))
    a = world.carry("a", 1)
    world.run(lambda: torch.cat([a, torch.ones(1, 2, 1)], dim=2))
    assert world.sealed == {world.id("a", 1, 0), world.id("a", 1, 1)}


@pytest.mark.parametrize(
    ("move", "axis"),
    [
        (lambda x: x.permute(2, 0, 1), 2),
        (lambda x: x.permute(-1, -3, -2), 2),
        (lambda x: x.transpose(1, 2), 2),
        (lambda x: x.transpose(-2, 0), 0),
        (lambda x: x.movedim(1, 0), 0),
        (lambda x: x.unsqueeze(0), 2),
        (lambda x: x.unsqueeze(-1), 1),
        (lambda x: x.unsqueeze(1).squeeze(1), 1),
        (lambda x: x.clone().relu_(), 1),
        (lambda x: x.to(torch.float64), 1),
    ],
)
def test_moving_axes_takes_the_ids_along(move: Any, axis: int) -> None:
    world = World(a=torch.ones(2, 3, 4))
    (track,) = world.run(move, world.carry("a", 1))
    assert varying(track) == {axis}
    assert track.ravel().tolist() == [world.id("a", 1, n) for n in range(3)]
    assert world.sealed == set()


def test_flattening_repeats_each_id_for_its_entries() -> None:
    world = World(a=torch.ones(5, 3, 2, 2))
    (track,) = world.run(lambda x: x.flatten(1), world.carry("a", 1))
    assert track.ravel().tolist() == [world.id("a", 1, n) for n in range(3) for _ in range(4)]


def test_flattening_two_kinds_of_channels_into_one_axis_seals_both() -> None:
    world = World(a=torch.ones(3, 4))
    world.carry("a", 0)
    assert world.run(lambda x: x.flatten(), world.carry("a", 1)) == ()
    assert world.sealed == {
        *(world.id("a", 0, n) for n in range(3)),
        *(world.id("a", 1, n) for n in range(4)),
    }


def test_expanding_leaves_ids_where_they_were() -> None:
    world = World(a=torch.ones(3, 1))
    (track,) = world.run(lambda x: x.expand(2, 3, 4), world.carry("a", 0))
    assert varying(track) == {1}


def test_an_op_without_a_rule_seals_and_forgets() -> None:
    world = World(a=torch.ones(2, 3))
    assert world.run(lambda x: torch.linalg.vander(x), world.carry("a", 1)) == ()
    assert world.sealed == {world.id("a", 1, n) for n in range(3)}


def test_dimensions_of_size_one_get_no_ids() -> None:
    ids = IdTable({"w": torch.ones(4, 1, 3)})
    assert ids.of("w", 1) is None
    assert ids.count == 7
    last = ids.of("w", 2)
    assert last is not None
    assert last.tolist() == [4, 5, 6]
