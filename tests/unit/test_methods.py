"""Methods by closed forms, on units small enough to work out by hand."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoprune.methods import CRITERIA
from autoprune.surgery.units import Slice, Unit

MAKER = Slice("conv.weight", 0, np.array([[0], [1], [2]]), reads=False)
OTHER = Slice("skip.weight", 0, np.array([[2], [1], [0]]), reads=False)
BIAS = Slice("conv.bias", 0, np.array([[0], [1], [2]]), reads=False)
SCALE = Slice("norm.weight", 0, np.array([[1], [2], [3]]), reads=False)
READER = Slice("head.weight", 1, np.array([[0, 1], [2, 3], [4, 5]]), reads=True)

WEIGHTS = {
    "conv.weight": torch.tensor([[3.0, 4.0], [0.0, 0.0], [-3.0, -4.0]]),
    "conv.bias": torch.tensor([1.0, -2.0, 3.0]),
    "skip.weight": torch.tensor([[1.0], [1.0], [1.0]]),
    "norm.weight": torch.tensor([9.0, -0.5, 2.0, 0.25]),
    "norm.bias": torch.tensor([7.0, 7.0, 7.0, 7.0]),
    "head.weight": torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]),
}
GRADIENTS = {
    "conv.weight": torch.tensor([[1.0, -1.0], [2.0, 2.0], [-0.5, 0.5]]),
    "conv.bias": torch.tensor([10.0, 1.0, -1.0]),
    "skip.weight": torch.tensor([[0.5], [-4.0], [-2.0]]),
    "norm.weight": torch.tensor([1.0, 1.0, 1.0, 1.0]),
    "norm.bias": torch.tensor([1.0, 1.0, 1.0, 1.0]),
    "head.weight": torch.tensor([[1.0, 1.0, 1.0, -1.0, 0.0, -2.0]]),
}


def score(
    name: str,
    *parts: Slice,
    weights: dict[str, Tensor] = WEIGHTS,
    gradients: dict[str, Tensor] = GRADIENTS,
    seed: int = 0,
) -> list[float]:
    method, rng = CRITERIA.get(name), np.random.default_rng(seed)
    used = gradients if method.needs_gradients else {}
    found: list[float] = method.score(Unit("u", 3, parts), weights, used, rng).tolist()
    return found


ALL = (MAKER, OTHER, BIAS, SCALE, READER)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # |3 * 1| + |4 * -1| of conv, |1 * -2| of skip's last row, which makes atom 0
        ("gradient", [3 + 4 + 2, 0 + 4, 1.5 + 2 + 0.5]),
        ("gradient_norm", [1 + 1 + 2, 2 + 2 + 4, 0.5 + 0.5 + 0.5]),
        ("taylor", [1 + 2, abs(3 - 4), abs(0 - 12)]),
        ("fisher", [9, 1, 144]),
        ("bn_scale", [0.5, 2.0, 0.25]),
    ],
)
def test_scores_of_a_unit_with_two_makers_a_norm_and_a_reader(
    name: str, expected: list[float]
) -> None:
    assert score(name, *ALL) == pytest.approx(expected)


def test_distances_are_between_all_coupled_filters_of_two_atoms() -> None:
    # 5 apart and 10 apart by conv alone; skip makes the atoms' vectors equal there
    assert score("fpgm", MAKER) == pytest.approx([5 + 10, 5 + 5, 5 + 10])
    skewed = WEIGHTS | {"skip.weight": torch.tensor([[0.0], [12.0], [0.0]])}
    expected = [13 + 10, 13 + 13, 13 + 10]
    assert score("fpgm", *ALL, weights=skewed) == pytest.approx(expected)


def test_equal_filters_are_no_distance_apart() -> None:
    same = {"conv.weight": torch.full((3, 2), 1 / 3)}
    assert score("fpgm", MAKER, weights=same) == [0.0, 0.0, 0.0]


def test_a_unit_without_a_norm_is_ranked_by_the_l1_norm() -> None:
    assert score("bn_scale", MAKER, OTHER, BIAS, READER) == [8.0, 1.0, 8.0]


def test_a_scale_alone_is_no_norm() -> None:
    slope = Slice("prelu.weight", 0, np.array([[0], [1], [2]]), reads=False)
    weights = WEIGHTS | {"prelu.weight": torch.tensor([9.0, 9.0, 1.0])}
    assert score("bn_scale", MAKER, slope, weights=weights) == [7.0, 0.0, 7.0]


def test_a_norm_without_a_bias_is_found_by_its_name() -> None:
    scale = Slice("ffn_norm.weight", 0, np.array([[0], [1], [2]]), reads=False)
    weights = WEIGHTS | {"ffn_norm.weight": torch.tensor([9.0, -3.0, 1.0])}
    assert score("bn_scale", MAKER, scale, weights=weights) == [9.0, 3.0, 1.0]


def test_a_norm_without_affines_of_its_own_is_found_by_its_statistics() -> None:
    frozen = {n.replace("bias", "running_mean"): t for n, t in WEIGHTS.items()}
    assert score("bn_scale", MAKER, SCALE, weights=frozen) == [0.5, 2.0, 0.25]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("taylor", [abs(3 - 4 + 10), abs(0 - 2), abs(1.5 - 2 - 3)])],
)
def test_what_nothing_reads_is_judged_by_what_makes_it(name: str, expected: list[float]) -> None:
    assert score(name, MAKER, BIAS) == pytest.approx(expected)
    squares = [value**2 for value in expected]
    assert score("fisher", MAKER, BIAS) == pytest.approx(squares)


@pytest.mark.parametrize("name", [n for n in CRITERIA if "channel" in CRITERIA.get(n).kinds])
def test_units_of_readers_or_biases_alone_get_finite_scores(name: str) -> None:
    for parts in ((READER,), (BIAS,), (SCALE,)):
        scores = score(name, *parts)
        assert all(math.isfinite(value) for value in scores)
        assert any(scores)


@pytest.mark.parametrize("name", ["gradient", "taylor", "fisher"])
def test_tensors_without_a_gradient_count_for_nothing(name: str) -> None:
    some = {n: g for n, g in GRADIENTS.items() if n != "skip.weight"}
    assert score(name, *ALL, gradients=some) == score(name, MAKER, BIAS, SCALE, READER)
    assert score(name, *ALL, gradients={}) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["gradient", "gradient_norm", "taylor", "fisher"])
def test_batches_without_a_gradient_give_zeros_where_the_weights_are(name: str) -> None:
    weights = {name: weight.to("meta") for name, weight in WEIGHTS.items()}
    found = CRITERIA.get(name).score(Unit("u", 3, ALL), weights, {}, np.random.default_rng(0))
    assert found.device.type == "meta"  # else sums over batches fail on a GPU


def test_random_scores_depend_on_the_generator_alone() -> None:
    first = score("random", *ALL)
    assert first == score("random", MAKER, weights={}, gradients={})
    assert first != score("random", *ALL, seed=1)
    assert all(0 <= value < 1 for value in first)


WEIGHT = torch.tensor([[3.0, -1.0], [0.5, 0.0]])
GRADIENT = torch.tensor([[-0.5, 2.0], [4.0, 8.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [3, 1, 0.5, 0]),
        ("l2", [3, 1, 0.5, 0]),
        ("gradient_norm", [0.5, 2, 4, 8]),
        ("gradient", [1.5, 2, 2, 0]),
        ("taylor", [1.5, 2, 2, 0]),
        ("fisher", [2.25, 4, 4, 0]),
    ],
)
def test_scores_of_single_weights(name: str, expected: list[float]) -> None:
    criterion: Any = CRITERIA.get(name)
    scores = criterion.elements(WEIGHT, GRADIENT, np.random.default_rng(0))
    assert scores.shape == WEIGHT.shape
    assert scores.ravel().tolist() == expected


def test_random_scores_of_single_weights_are_drawn_from_the_generator() -> None:
    criterion: Any = CRITERIA.get("random")
    one, other, third = (
        criterion.elements(WEIGHT, GRADIENT, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert bool(((one >= 0) & (one < 1)).all())


def test_what_needs_whole_filters_ranks_no_single_weights() -> None:
    able = {name for name in CRITERIA if "weights" in CRITERIA.get(name).kinds}
    assert able == {"l1", "l2", "gradient", "gradient_norm", "taylor", "fisher", "random"}


def test_the_documentation_lists_every_criterion_with_its_paper_and_what_it_fits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = {name: line for line in lines for name in re.findall(r"`([a-z]\w*)`", line)}
    ours = {name for name in CRITERIA if CRITERIA.origin(name) == "autoprune"}
    assert ours <= rows.keys()
    for name in ours:
        (paper,) = re.findall(r"arXiv:[\d.]+\d", rows[name])
        criterion = CRITERIA.get(name)
        assert paper in criterion.paper
        fits = re.findall(r"\w+", rows[name].split("|")[-2])
        assert set(fits) == set(criterion.kinds)
