"""Forwards that change what they get, draw, pick by value or remember; tensors of odd kinds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.artifacts.comparison import all_outputs, gap
from autoprune.cost.model import CostModel
from autoprune.errors import ModelError
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover, plan_of
from autoprune.surgery.macs import macs_of
from autoprune.surgery.plan import Plan
from autoprune.surgery.trace import trace

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Run = Callable[[Any, Tensor], Any]


class Toy(nn.Module):
    """``before -> a -> b -> after``."""

    def __init__(self, before: Run = lambda m, x: x, after: Run = lambda m, y: y) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        return self.after(self, self.b(F.relu(self.a(self.before(self, x)))).mean((2, 3)))


def found(model: nn.Module) -> Plan:
    return discover(model.eval(), [IMAGES.clone()], np.random.default_rng(0))


@pytest.mark.parametrize(
    "model",
    [
        Toy(before=lambda m, x: x.sub_(0.3).div_(0.5)),
        Toy(before=lambda m, x: x + 0.01 * torch.randn_like(x)),
        Toy(after=lambda m, y: F.dropout(y, 0.2)),
    ],
    ids=["in place", "noise", "dropout"],
)
def test_forwards_that_differ_each_time_are_compared_alike(model: nn.Module) -> None:
    assert found(model).units["a"].atoms == 8
    once, again = (outputs(model, [IMAGES]) for _ in range(2))  # as a reloaded winner is compared
    assert difference(once, again) == 0
    assert gap(all_outputs(model, [IMAGES]), all_outputs(model, [IMAGES])) == 0


def test_inputs_stay_as_they_are() -> None:
    images = IMAGES.clone()
    model = Toy(before=lambda m, x: x.sub_(0.3)).eval()
    outputs(model, [images])
    trace(model, [images])
    assert torch.equal(images, IMAGES)


class SharedKeys(nn.Module):
    """Four heads of queries read two of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 1)
        self.kv, self.head = nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.b(F.relu(self.a(x))).flatten(2).transpose(1, 2)
        query = tokens.unflatten(2, (4, 4)).transpose(1, 2)
        key, value = self.kv(tokens).unflatten(2, (2, 2, 4)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        logits: Tensor = self.head(seen.transpose(1, 2).flatten(2).mean(1))
        return logits


def test_an_op_that_a_rule_does_not_cover_seals_what_it_touches() -> None:
    plan = found(SharedKeys())
    assert plan.units["a"].atoms == 8
    assert not {"b", "kv"} & plan.units.keys()


def test_a_fault_of_a_rule_is_not_blamed_on_the_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(op: Any) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setitem(trace.__globals__["RULES"], "aten.relu", faulty)
    plan = plan_of(Toy().eval(), [IMAGES])
    assert "aten.relu: its rule raised ValueError" in plan.sealed["a.weight[0]"]


def test_a_formula_may_fail_over_attention_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(*_: Any, **__: Any) -> int:
        raise AssertionError("shapes are incompatible")

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    for name in (str(attention), "aten.mv"):
        monkeypatch.setitem(macs_of.__globals__["_FORMULAS"], name, picky)
    assert macs_of(attention.default, (), {}, None) is None
    with pytest.raises(AssertionError, match="shapes are incompatible"):
        macs_of(torch.ops.aten.mv.default, (), {}, None)


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_what_a_mask_picks_is_of_a_size_by_value(dtype: torch.dtype) -> None:
    model = Toy(after=lambda m, y: y[(y[..., 0].sigmoid() > 0.9999).to(dtype)]).eval()
    assert plan_of(model, [IMAGES]).by_value
    assert not plan_of(Toy(after=lambda m, y: y[torch.tensor([1, 0])]).eval(), [IMAGES]).by_value


class Remembers(nn.Module):
    """Computes a product once for each batch size, and has heads: two traces run it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.kept = nn.Linear(8, 8), dict[int, Tensor]()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.b, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) not in self.kept:
            self.kept[len(x)] = torch.ones(8, 8) @ torch.ones(8, 8)
        tokens = self.a(x) + self.kept[len(x)][0]
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        logits: Tensor = self.head(F.relu(self.b(tokens)).mean(1))
        return logits


def test_a_product_that_is_kept_is_no_odd_trace() -> None:
    plan = discover(Remembers().eval(), [torch.randn(2, 5, 8)], np.random.default_rng(0))
    assert plan.units["b"].atoms == 6


def with_buffer(buffer: Tensor) -> nn.Module:
    model = Toy()
    model.register_buffer("extra", buffer)
    return model.eval()


def test_a_sparse_buffer_is_left_alone() -> None:
    assert found(with_buffer(torch.eye(8).to_sparse())).units["a"].atoms == 8


def test_a_buffer_that_no_file_can_hold_is_told() -> None:
    model = with_buffer(torch.zeros(3, dtype=torch.complex128))
    with pytest.raises(ModelError, match=r"type torch.complex128, which a safetensors file"):
        CostModel(model, found(model))


class Buffers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("a", torch.randn(8, 3))
        self.register_buffer("b", torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x.mean((2, 3)), self.a)), self.b)  # type: ignore[arg-type]


def test_weights_may_be_in_buffers_alone() -> None:
    assert found(Buffers()).units["a"].atoms == 8


def test_kernels_are_no_reason() -> None:
    model = Toy(after=lambda m, y: y).eval()
    model.forward = lambda x: model.b(model.a(x).softmax(1))  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="reasons") as caught:
        found(model)
    assert "aten.convolution: mixes this axis" not in str(caught.value)
    assert "is an output of the model" in str(caught.value)
