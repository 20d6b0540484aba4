"""Costs against figures worked out by hand and against files really written."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.artifacts.weights import save_weights
from autoprune.core.costs import Costs, cost_text
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.solve import solve
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.trace import trace


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def costs(model: nn.Module, *inputs: Tensor) -> Costs:
    return count_costs(model, inputs, inputs[0].shape[0])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("layer", "shape", "macs", "params"),
    [
        # output height x width x out channels x in channels per group x kernel
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 12), 10 * 12 * 8 * 3 * 9, 8 * 3 * 9 + 8),
        (nn.Conv2d(3, 8, 3), (3, 10, 12), 8 * 10 * 8 * 3 * 9, 8 * 3 * 9 + 8),
        (nn.Conv2d(4, 6, (1, 5), bias=False), (4, 7, 9), 7 * 5 * 6 * 4 * 5, 6 * 4 * 5),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 9), 25 * 6 * 4 * 9, 6 * 4 * 9 + 6),
        (nn.Conv2d(4, 6, 3, dilation=2), (4, 9, 9), 25 * 6 * 4 * 9, 6 * 4 * 9 + 6),
        (nn.Conv2d(8, 8, 3, groups=8), (8, 6, 6), 16 * 8 * 1 * 9, 8 * 9 + 8),
        (nn.Conv2d(8, 12, 1, groups=4), (8, 5, 5), 25 * 12 * 2, 12 * 2 + 12),
        (nn.Conv1d(4, 6, 3), (4, 10), 8 * 6 * 4 * 3, 6 * 4 * 3 + 6),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), 27 * 3 * 2 * 8, 3 * 2 * 8 + 3),
        # each input entry meets every output channel and kernel entry
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 25 * 4 * 6 * 4, 4 * 6 * 4 + 6),
        (nn.Linear(7, 5), (7,), 7 * 5, 7 * 5 + 5),
        (nn.Linear(7, 5, bias=False), (7,), 7 * 5, 7 * 5),
        (nn.Linear(7, 5), (4, 7), 4 * 7 * 5, 7 * 5 + 5),
        (nn.BatchNorm2d(6), (6, 4, 4), 0, 12),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), (3, 4, 4), 0, 0),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else None,
)
def test_macs_and_params_of_one_layer(
    layer: nn.Module, shape: tuple[int, ...], macs: int, params: int, batch: int
) -> None:
    found = costs(layer.eval(), images(batch, *shape))
    assert (found.macs, found.params) == (macs, params)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.b = nn.Conv2d(6, 10, 1, bias=False)
        self.project = nn.Conv2d(8, 10, 1, stride=2, bias=False)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.stem(x)).relu()
        y = self.b(self.depthwise(self.a(y)).relu()) + self.project(y)
        return self.head(y.relu().mean((2, 3)))


def by_hand(stream: int, branch: int, out: int) -> tuple[int, int]:
    """MACs and params of `Residual` with these widths on 8 x 8 images."""
    macs = (
        64 * stream * 3 * 9  # stem, 8 x 8 places
        + 16 * branch * stream * 9  # a, 4 x 4 places
        + 16 * branch * 9  # depthwise
        + 16 * out * branch  # b
        + 16 * out * stream  # project
        + out * 4  # head
    )
    params = (
        stream * 27
        + 2 * stream
        + branch * stream * 9
        + branch
        + branch * 9
        + out * branch
        + out * stream
        + out * 4
        + 4
    )
    return macs, params


def planned(model: nn.Module, x: Tensor) -> Plan:
    return discover(model, [x], np.random.default_rng(0))


def test_the_price_of_a_residual_network_at_every_policy() -> None:
    model = Residual()
    prices = CostModel(model, planned(model, images(2, 3, 8, 8)))
    for stream, branch, out in itertools.product([1, 3, 8], [1, 4, 6], [1, 7, 10]):
        found = prices.price({"stem": stream, "a": branch, "b": out})
        assert (found.macs, found.params) == by_hand(stream, branch, out)
    assert prices.dense == prices.price({"stem": 8, "a": 6, "b": 10})
    assert prices.price({"a": 4}) == prices.price({"stem": 8, "a": 4})


def test_shapes_follow_the_policy() -> None:
    model = Residual()
    shapes = CostModel(model, planned(model, images(2, 3, 8, 8))).shapes({"stem": 5, "a": 2})
    assert shapes["stem.weight"] == (5, 3, 3, 3)
    assert shapes["norm.running_var"] == (5,)
    assert shapes["norm.num_batches_tracked"] == ()
    assert shapes["a.weight"] == (2, 5, 3, 3)
    assert shapes["depthwise.weight"] == (2, 1, 3, 3)
    assert shapes["project.weight"] == (10, 5, 1, 1)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_costs_are_of_one_sample_whatever_the_batch(batch: int) -> None:
    model = Residual()
    assert costs(model, images(batch, 3, 8, 8)).macs == by_hand(8, 6, 10)[0]
    plan = planned(model, images(batch, 3, 8, 8))
    assert CostModel(model, plan).price({"b": 3}).macs == by_hand(8, 6, 3)[0]


def test_a_module_used_twice_costs_twice_the_macs_and_once_the_params() -> None:
    layer = nn.Conv2d(4, 4, 1, bias=False)
    found = costs(nn.Sequential(layer, nn.ReLU(), layer), images(1, 4, 5, 5))
    assert (found.macs, found.params) == (2 * 25 * 16, 16)


def test_products_of_activations_and_attention_are_counted() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return (x @ x.transpose(1, 2)) @ x

    # 6 x 6 scores of length 4 each, then 6 x 4 sums over 6
    assert costs(Attention(), images(2, 6, 4)).macs == 6 * 6 * 4 + 6 * 4 * 6


def test_concatenation_prices_each_source_on_its_own() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 5, 1, bias=False)
            self.b = nn.Conv2d(5, 4, 1, bias=False)
            self.c = nn.Conv2d(9, 2, 1, bias=False)

        def forward(self, x: Tensor) -> Any:
            y = self.a(x).relu()
            return self.c(torch.cat([y, self.b(y)], 1))

    model = Dense()
    prices = CostModel(model, planned(model, images(1, 3, 4, 4)))
    for a, b in itertools.product(range(1, 6), range(1, 5)):
        expected = 3 * a + a * b + 2 * (a + b)
        found = prices.price({"a": a, "b": b})
        assert (found.macs, found.params) == (16 * expected, expected)


def written(model: nn.Module, folder: Path) -> int:
    path = folder / "weights.safetensors"
    save_weights(model, path)
    return path.stat().st_size


def with_buffers(*buffers: Tensor) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    for position, buffer in enumerate(buffers):
        model.register_buffer(f"extra{position}", buffer)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    model[2].weight = model[1].weight
    return model


def hidden_buffer() -> nn.Module:
    model = with_buffers()
    model.register_buffer("hidden", torch.ones(100), persistent=False)
    return model


TEN = torch.arange(10)


@pytest.mark.parametrize(
    "model",
    [
        nn.Conv2d(3, 4, 1),
        Residual(),
        Residual().half(),
        Residual().bfloat16(),
        Residual().double(),
        tied(),
        hidden_buffer(),
        with_buffers(TEN, TEN.bool(), TEN.int(), TEN.short(), TEN.char(), TEN.byte()),
        with_buffers(TEN.half(), TEN.double()),
        with_buffers(torch.empty(0), torch.tensor(1.0)),
        nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(12))),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_size_is_that_of_the_file(model: nn.Module, tmp_path: Path) -> None:
    dtype = next(model.parameters()).dtype
    plan = solve([trace(model, [images(2, 3, 8, 8).to(dtype)])], state_tensors(model), 2)
    assert CostModel(model, plan).dense.size == written(model, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_size_of_a_policy_is_that_of_its_file(dtype: torch.dtype, tmp_path: Path) -> None:
    model = Residual()
    plan = planned(model, images(2, 3, 8, 8))
    model.to(dtype)
    prices = CostModel(model, plan)
    for count in range(1, 6):
        gone = {"stem": np.arange(count), "a": np.arange(count), "b": np.arange(count)}
        kept = {"stem": 8 - count, "a": 6 - count, "b": 10 - count}
        assert prices.price(kept).size == written(apply(model, plan, gone), tmp_path)


def test_the_bytes_of_a_file_by_hand() -> None:
    model = nn.Linear(3, 2)
    header = (
        '{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        '"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]}}'
    )
    padded = -(-len(header) // 8) * 8
    assert costs(model, images(1, 3)).size == 8 + padded + (2 + 6) * 4


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint16, torch.float8_e4m3fn])
def test_buffers_of_rarer_types_have_a_size(dtype: torch.dtype, tmp_path: Path) -> None:
    model = with_buffers(torch.zeros(3, dtype=dtype))
    assert costs(model, images(1, 3, 4, 4)).size == written(model, tmp_path)


def test_names_beyond_ascii_are_sized_like_their_file(tmp_path: Path) -> None:
    model = nn.Sequential()
    model.add_module("größe", nn.Conv2d(3, 4, 1))
    assert costs(model, images(1, 3, 4, 4)).size == written(model, tmp_path)


def test_costs_go_by_the_names_of_a_budget() -> None:
    exact = {"macs": 1, "params": 2, "size": 3, "memory": 4, "sparse_macs": 5, "sparse_size": 6}
    found = Costs(**exact, latency={"onnxruntime": 7.5}, parts={"macs@see": 8})
    assert found.as_dict() == {**exact, "macs@see": 8, "latency@onnxruntime": 7.5}


def test_attention_among_channels_grows_with_their_square() -> None:
    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(5, 8, bias=False), nn.Linear(8, 3, bias=False)

        def forward(self, x: Tensor) -> Any:
            y = self.inner(x)
            scores = (y.transpose(1, 2) @ y).softmax(-1)  # channels x channels, over 6 tokens
            return self.outer(y @ scores)

    model, x = Across().eval(), images(2, 6, 5)
    plan = solve([trace(model, [x])], state_tensors(model), 2)
    prices = CostModel(model, plan)
    for kept in (8, 5, 2):
        by_hand = 6 * 5 * kept + 2 * 6 * kept**2 + 6 * kept * 3
        assert prices.price({"inner": kept}).macs == by_hand
        cut = apply(model, plan, {"inner": np.arange(kept, 8)})
        assert prices.price({"inner": kept}) == count_costs(cut, [x], 2)


def test_fused_attention_and_products_with_vectors_are_counted() -> None:
    class Fused(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    # 2 heads: 6 x 6 scores of width 4, then 6 x 4 sums over 6
    assert costs(Fused(), images(3, 2, 6, 4)).macs == 2 * (6 * 6 * 4 + 6 * 4 * 6)

    class Vector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v = nn.Parameter(torch.ones(5))

        def forward(self, x: Tensor) -> Any:
            return x @ self.v

    assert costs(Vector(), images(3, 5)).macs == 5


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("macs", 12_345_678, "12,345,678"),
        ("latency@pytorch/threads=1", 0.01234, "0.0123 ms"),
        ("latency@pytorch/threads=1", 8.125, "8.12 ms"),
        ("latency@pytorch/threads=1", 1234.5, "1,234 ms"),
    ],
)
def test_an_amount_is_written_without_an_exponent(name: str, amount: float, text: str) -> None:
    assert cost_text(name, amount) == text
