"""What every registered method promises, and closed forms for the built-in ones."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.methods import CRITERIA, Criterion
from autoprune.methods.base import Tensors
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.units import KINDS, Slice, Unit
from autoprune.testing.methods import CASES, MethodContract

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 2])


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(params=list(CRITERIA))
def method(request: pytest.FixtureRequest) -> Criterion:
    return CRITERIA.get(request.param)


class Residual(nn.Module):
    """A stream made by two layers, a branch with a depthwise layer, and a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.b = nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor, gate: dict[str, Tensor] | None = None) -> Any:
        gate = gate or {}
        y = F.leaky_relu(self.norm(self.stem(x)))
        y = y + self.b(
            F.leaky_relu(self.depthwise(self.a(y * gate.get("block", 1.0)))) * gate.get("a", 1.0)
        )
        return self.head((F.adaptive_avg_pool2d(y * gate.get("head", 1.0), 2)).flatten(1))


@pytest.fixture
def model() -> Residual:
    return Residual().eval()


def plan_of(model: nn.Module) -> Plan:
    return discover(model, [IMAGES], np.random.default_rng(0))


def loss_of(model: nn.Module, gate: dict[str, Tensor] | None = None) -> Tensor:
    return F.cross_entropy(model(IMAGES, gate), LABELS)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss_of(model), parameters), strict=True))


def score(method: Criterion, unit: Unit, weights: Tensors, gradients: Tensors) -> Tensor:
    """The one place that calls a method, for the day its arguments change."""
    return method.score(unit, weights, gradients, np.random.default_rng(0))


def scored(method: Criterion, model: nn.Module, unit: Unit) -> Tensor:
    gradients = gradients_of(model) if method.needs_gradients else {}
    return score(method, unit, state_tensors(model), gradients)


@pytest.mark.parametrize("name", list(CRITERIA))
class TestBuiltIn(MethodContract):
    """Every registered method passes the contract that plug-ins are given."""

    @pytest.fixture(autouse=True)
    def _given(self, name: str) -> None:
        self.name, self.draws = name, name == "random"

    def make(self) -> Criterion:
        return CRITERIA.get(self.name)


def test_the_cases_of_the_contract_hold_every_kind_of_unit() -> None:
    assert {unit.kind for make in CASES for unit in make().units} == set(KINDS)


def test_each_method_cites_its_paper_and_says_how_it_differs(method: Criterion) -> None:
    assert "arXiv:" in method.paper
    assert "Ours" in method.paper


def linear(inputs: int, outputs: int, values: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    layer.weight.data = torch.tensor(values)
    layer.bias.data = torch.linspace(-3, 3, outputs)
    return layer


class Coupled(nn.Module):
    """Two layers add into one stream of two channels: the unit has two makers."""

    def __init__(self) -> None:
        super().__init__()
        self.p = linear(2, 2, [[1.0, -2.0], [0.5, 0.0]])
        self.q = linear(2, 2, [[-3.0, 4.0], [0.25, -1.0]])
        self.out = linear(2, 2, [[9.0, 7.0], [-5.0, 8.0]])

    def forward(self, x: Tensor) -> Any:
        return self.out(self.p(x).tanh() + self.q(x))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [1 + 2 + 3 + 4, 0.5 + 0 + 0.25 + 1]),
        ("l2", [math.sqrt(1 + 4 + 9 + 16), math.sqrt(0.25 + 0 + 0.0625 + 1)]),
    ],
)
def test_magnitude_of_a_coupled_unit_in_closed_form(name: str, expected: list[float]) -> None:
    model = Coupled()
    plan = discover(model, [IMAGES[:, 0, 0, :2]], np.random.default_rng(0))
    scores = score(CRITERIA.get(name), plan.units["p"], state_tensors(model), {})
    assert scores.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_magnitude_sums_every_slot_of_an_atom(power: int) -> None:
    weight = torch.tensor([[1.0, -2.0], [3.0, 4.0], [-5.0, 6.0], [7.0, -8.0]])
    part = Slice("w", 0, np.array([[0, 3], [1, 2]]), reads=False)
    scores = score(CRITERIA.get(f"l{power}"), Unit("w", 2, (part,)), {"w": weight}, {})
    if power == 1:
        assert scores.tolist() == [1 + 2 + 7 + 8, 3 + 4 + 5 + 6]
    else:
        roots = [math.sqrt(1 + 4 + 49 + 64), math.sqrt(9 + 16 + 25 + 36)]
        assert scores.tolist() == pytest.approx(roots, rel=1e-12)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_magnitude_ignores_readers_and_norms(name: str, model: Residual) -> None:
    unit = plan_of(model).units["stem"]
    before = score(CRITERIA.get(name), unit, state_tensors(model), {})
    for tensor in ("a.weight", "head.weight", "norm.weight", "norm.running_var", "stem.bias"):
        state_tensors(model)[tensor].data.mul_(10.0)
    assert torch.equal(score(CRITERIA.get(name), unit, state_tensors(model), {}), before)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_magnitude_tells_atoms_of_a_tied_encoder_apart(name: str) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Any:
            return self.code(x).tanh() @ self.code.weight

    model = Tied()
    unit = discover(model, [IMAGES[:, 0, 0]], np.random.default_rng(0)).units["code"]
    scores = score(CRITERIA.get(name), unit, state_tensors(model), {})
    assert scores.unique().numel() == 5


def gate_derivative(model: Residual, name: str, channels: int) -> Tensor:
    """Return the exact derivative of the loss by a gate of 1 on each channel, ``[channels]``."""
    gate = torch.ones(channels, 1, 1, requires_grad=True)
    (derivative,) = torch.autograd.grad(loss_of(model, {name: gate}), gate)
    return derivative.ravel().double()


def test_taylor_is_the_derivative_by_a_gate_on_the_channel(model: Residual) -> None:
    unit = plan_of(model).units["a"]
    scores = scored(CRITERIA.get("taylor"), model, unit)
    # The unit holds the depthwise layer too; what reads its atoms is ``b``, behind it.
    expected = gate_derivative(model, "a", 6).abs()
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-8)
    assert float(expected.min()) > 1e-6


def test_taylor_sums_over_all_readers_before_the_absolute_value(model: Residual) -> None:
    unit = plan_of(model).units["stem"]
    scores = scored(CRITERIA.get("taylor"), model, unit)
    parts = [gate_derivative(model, name, 8) for name in ("block", "head")]
    assert torch.allclose(scores, (parts[0] + parts[1]).abs(), rtol=1e-4, atol=1e-8)
    assert not torch.allclose(scores, parts[0].abs() + parts[1].abs(), rtol=1e-2)


def test_taylor_agrees_with_a_finite_difference(model: Residual) -> None:
    model.double()
    unit = plan_of(Residual().eval()).units["a"]
    images, step = IMAGES.double(), 1e-5
    parameters = dict(model.named_parameters())

    def loss(gate: Tensor) -> Tensor:
        return F.cross_entropy(model(images, {"a": gate}), LABELS)

    plain = loss(torch.ones(6, 1, 1))
    gradients = dict(
        zip(parameters, torch.autograd.grad(plain, list(parameters.values())), strict=True)
    )
    scores = score(CRITERIA.get("taylor"), unit, state_tensors(model), gradients)
    for atom in range(6):
        nudge = torch.zeros(6, 1, 1, dtype=torch.float64)
        nudge[atom] = step
        slope = (loss(1 + nudge) - loss(1 - nudge)).item() / (2 * step)
        assert scores[atom].item() == pytest.approx(abs(slope), rel=1e-4, abs=1e-9)


def test_taylor_tells_the_widths_of_queries_and_keys_apart() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(8, 6) for _ in range(3))
            self.out = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Any:
            scores = self.query(x) @ self.key(x).transpose(1, 2)
            return self.out(scores.softmax(-1) @ self.value(x)).mean(1)

    model, inputs = Attention(), IMAGES[:, 0]
    plan = discover(model, [inputs], np.random.default_rng(0))
    assert list(plan.units) == ["query", "value"]
    parameters = dict(model.named_parameters())
    loss = F.cross_entropy(model(inputs), LABELS)
    found = torch.autograd.grad(loss, list(parameters.values()))
    gradients = dict(zip(parameters, found, strict=True))
    method = CRITERIA.get("taylor")
    for unit in plan.units.values():
        scores = score(method, unit, state_tensors(model), gradients)
        assert scores.unique().numel() == unit.atoms


def test_taylor_without_gradients_of_its_readers_is_zero(model: Residual) -> None:
    unit = plan_of(model).units["a"]
    scores = score(CRITERIA.get("taylor"), unit, state_tensors(model), {})
    assert scores.tolist() == [0.0] * 6
