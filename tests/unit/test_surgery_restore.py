"""Units come back with their bytes, and an optimiser's state is cut along with the model."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adafactor, Adam, AdamW, Optimizer, RMSprop

from autoprune.errors import ModelError
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.optimiser import sliced_optimiser
from autoprune.surgery.plan import Plan
from autoprune.surgery.restore import restored
from autoprune.surgery.sparse import set_to_zero
from autoprune.surgery.tensors import state_tensors

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
GONE = {"stem": np.array([1, 2, 7]), "inner": np.array([0, 5]), "branch:block": np.array([0])}


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.relu(self.a(x)))  # type: ignore[no-any-return]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.branch, self.inner = Branch(), nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inner(self.branch(F.relu(self.norm(self.stem(x))))))
        return self.head(x.mean((2, 3))) * self.scale  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Iterator[Net]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield Net()


@pytest.fixture
def plan(model: Net) -> Plan:
    return discover(model, [IMAGES], np.random.default_rng(0))


def trained(model: nn.Module, optimiser: Optimizer, steps: int = 3) -> nn.Module:
    for _ in range(steps):
        optimiser.zero_grad()
        model(IMAGES).square().mean().backward()
        optimiser.step()
    return model


def equal(left: nn.Module, right: nn.Module) -> bool:
    one, other = state_tensors(left), state_tensors(right)
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("units", [["stem"], ["inner"], ["branch:block"], ["stem", "inner"]])
def test_restored_units_have_their_bytes_and_the_rest_keeps_its_own(
    model: Net, plan: Plan, units: list[str]
) -> None:
    pruned = apply(model, plan, GONE)
    trained(pruned, SGD(pruned.parameters(), 0.1))
    wider = restored(pruned, model, plan, GONE, units)
    left = {name: gone for name, gone in GONE.items() if name not in units}
    original = state_tensors(apply(model, plan, left))
    given, learnt = state_tensors(wider), state_tensors(pruned)
    missing = plan.cut(GONE).after(plan.cut(left))
    assert given.keys() == original.keys()
    for name, tensor in given.items():
        if missing.drops(name):
            assert torch.equal(tensor, original[name])
            continue
        gone = missing.positions.get(name, {})
        kept = torch.ones(tensor.shape, dtype=torch.bool)
        for dim, index in gone.items():
            kept.index_fill_(dim, torch.from_numpy(index), False)
        assert torch.equal(tensor[kept], learnt[name].flatten())
        assert torch.equal(tensor[~kept], original[name][~kept])
    assert not equal(wider, apply(model, plan, left)), "what was learnt stays"
    assert torch.isfinite(wider(IMAGES)).all()


def test_everything_restored_is_the_dense_model(model: Net, plan: Plan) -> None:
    assert equal(restored(apply(model, plan, GONE), model, plan, GONE, list(GONE)), model)


def test_what_cannot_be_restored_is_told(model: Net, plan: Plan) -> None:
    pruned = apply(model, plan, GONE)
    with pytest.raises(ModelError, match=r"'inne' is whole.*'inner'"):
        restored(pruned, model, plan, GONE, ["inne"])
    other = GONE | {"stem": np.array([1])}
    with pytest.raises(ModelError, match=r"'stem.weight' should have shape \(7, 3, 3, 3\)"):
        restored(pruned, model, plan, other, ["inner"])


OPTIMISERS: list[Callable[[Any], Optimizer]] = [
    lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    lambda p: Adam(p, 0.01),
    lambda p: AdamW(p, 0.01, amsgrad=True),
    lambda p: RMSprop(p, 0.01, momentum=0.5),
]


@pytest.mark.parametrize("build", OPTIMISERS)
def test_a_step_of_the_sliced_optimiser_is_the_slice_of_a_step(
    model: Net, plan: Plan, build: Callable[[Any], Optimizer]
) -> None:
    groups = [{"params": [model.scale, *model.head.parameters()], "lr": 0.05}]
    rest = [p for n, p in model.named_parameters() if not n.startswith(("head", "scale"))]
    optimiser = build([*groups, {"params": rest}])
    trained(model, optimiser)
    pruned, cut = apply(model, plan, GONE), plan.cut(GONE)
    twin = sliced_optimiser(optimiser, model, pruned, cut)
    assert type(twin) is type(optimiser)
    assert [g["lr"] for g in twin.param_groups] == [g["lr"] for g in optimiser.param_groups]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) * 0.3
    for parameter in pruned.parameters():
        parameter.grad = torch.ones_like(parameter) * 0.3
    before = {n: p.detach().clone() for n, p in pruned.named_parameters()}
    optimiser.step()
    twin.step()
    expected = dict(apply(model, plan, GONE).named_parameters())
    for name, parameter in pruned.named_parameters():
        assert torch.equal(parameter, expected[name]), name
        assert not torch.equal(parameter, before[name]), name


def test_the_first_optimiser_is_left_as_it_is(model: Net, plan: Plan) -> None:
    optimiser = SGD(model.parameters(), 0.1, momentum=0.9)
    trained(model, optimiser)
    before = {id(p): s["momentum_buffer"].clone() for p, s in optimiser.state.items()}
    pruned = apply(model, plan, GONE)
    trained(pruned, sliced_optimiser(optimiser, model, pruned, plan.cut(GONE)))
    for parameter, state in optimiser.state.items():
        assert torch.equal(before[id(parameter)], state["momentum_buffer"])


def test_states_that_cannot_be_sliced_are_told(model: Net, plan: Plan) -> None:
    pruned, cut = apply(model, plan, GONE), plan.cut(GONE)
    stranger = SGD(nn.Linear(3, 2).parameters(), 0.1)
    with pytest.raises(ModelError, match=r"shape \(2, 3\) that the dense model does not have"):
        sliced_optimiser(stranger, model, pruned, cut)
    factored = Adafactor(model.parameters(), 0.1)
    trained(model, factored)
    with pytest.raises(ModelError, match="Start a fresh optimiser"):
        sliced_optimiser(factored, model, pruned, cut)


def test_a_wrapped_model_and_single_scales_are_sliced_too(model: Net, plan: Plan) -> None:
    model.register_parameter("gain", nn.Parameter(torch.ones(1)))
    optimiser = Adam(model.named_parameters(), 0.01)
    trained(model, optimiser)
    pruned = apply(model, discover(model, [IMAGES], np.random.default_rng(0)), GONE)
    wrapped: Any = torch.compile(model)
    twin = sliced_optimiser(optimiser, wrapped, pruned, plan.cut(GONE))
    (group,) = twin.param_groups
    assert len(group["params"]) == len(list(pruned.parameters())) == len(group["param_names"])
    assert not any(name.startswith("branch") for name in group["param_names"])
    trained(pruned, twin)


def test_old_momentum_does_not_move_zeros(model: Net, plan: Plan) -> None:
    optimiser = SGD(model.parameters(), 0.1, momentum=0.9)
    trained(model, optimiser)
    pruned = apply(model, plan, GONE)
    weight = pruned.get_parameter("stem.weight")
    set_to_zero(pruned, {"stem.weight": weight.abs() > 0.1})
    before = weight == 0
    assert before.any()
    trained(pruned, sliced_optimiser(optimiser, model, pruned, plan.cut(GONE)))
    assert torch.equal(weight == 0, before)


def test_an_optimiser_with_attributes_of_its_own_is_told(model: Net, plan: Plan) -> None:
    optimiser = LBFGS(model.parameters())
    with pytest.raises(ModelError, match="LBFGS keeps attributes of its own"):
        sliced_optimiser(optimiser, model, apply(model, plan, GONE), plan.cut(GONE))


def test_what_was_frozen_stays_frozen(model: Net, plan: Plan) -> None:
    pruned = apply(model, plan, GONE).requires_grad_(False)
    wider = restored(pruned, model, plan, GONE, ["stem"])
    assert not any(
        parameter.requires_grad for parameter in wider.get_submodule("stem").parameters()
    )
    with pytest.raises(ModelError, match=r"float32, it has shape .*float64"):
        restored(pruned.double(), model, plan, GONE, ["stem"])
