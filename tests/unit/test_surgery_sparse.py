"""Single weights: which become zero, and that they stay zero."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from autoprune.cost.count import count_costs
from autoprune.errors import ModelError
from autoprune.formats.onnx import export_onnx
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.restore import restored
from autoprune.surgery.sparse import (
    input_dim,
    keep_zeros,
    kept_at_zero,
    n_m_mask,
    set_to_zero,
    unstructured_masks,
)
from autoprune.testing.models import Blocks

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))  # type: ignore[no-any-return]


def sparse() -> Net:
    torch.manual_seed(0)
    model = Net()
    scores = {name: model.get_parameter(name).abs() for name in ("a.weight", "b.weight")}
    set_to_zero(model, unstructured_masks(scores, 0.5))
    return model


def zeros(model: nn.Module) -> dict[str, Tensor]:
    return {n: model.get_parameter(n).detach() == 0 for n in ("a.weight", "b.weight")}


def train(model: nn.Module, optimiser: Optimizer) -> None:
    for _ in range(4):
        optimiser.zero_grad()
        model(X).square().mean().backward()
        optimiser.step()


def unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(after, before[name]) for name, after in zeros(model).items())


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.floats(0, 1),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_exactly_the_lowest_go(sizes: list[int], share: float, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    draw = (lambda n: rng.integers(0, 3, n)) if ties else rng.random
    scores = {str(i): torch.from_numpy(np.asarray(draw(n), float)) for i, n in enumerate(sizes)}
    masks = unstructured_masks(scores, share)
    kept = torch.cat([masks[name] for name in scores])
    flat = torch.cat(list(scores.values()))
    assert int((~kept).sum()) == round(share * sum(sizes))
    if kept.any() and not kept.all():
        assert flat[~kept].max() <= flat[kept].min()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 11), st.integers(0, 2**31))
def test_n_of_m_stay(n: int, more: int, inputs: int, seed: int) -> None:
    m = n + more
    scores = torch.from_numpy(np.random.default_rng(seed).random((2, inputs, 3)))
    mask = n_m_mask(scores, n, m)
    assert mask.shape == scores.shape
    for out in range(2):
        for place in range(3):
            for start in range(0, inputs, m):
                own = mask[out, start : start + m, place]
                best = scores[out, start : start + m, place]
                assert int(own.sum()) == (n if len(own) == m else len(own))
                if len(own) == m:
                    assert best[own].min() >= best[~own].max()


OPTIMISERS: list[Callable[[Any], Optimizer]] = [
    lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    lambda p: Adam(p, 0.01, weight_decay=0.1),
    lambda p: AdamW(p, 0.01, weight_decay=0.1, amsgrad=True),
    lambda p: RMSprop(p, 0.01, momentum=0.9),
]


@pytest.mark.parametrize("build", OPTIMISERS)
def test_zeros_stay_zero_whoever_trains(build: Callable[[Any], Optimizer]) -> None:
    model = sparse()
    before, values = zeros(model), model.a.weight.detach().clone()
    train(model, build(model.parameters()))
    assert unchanged(model, before)
    assert (model.a.weight.detach() != values)[~before["a.weight"]].any(), "others learn"


def test_without_a_keeper_zeros_are_lost() -> None:
    model = sparse()
    before = zeros(model)
    keep_zeros(model, [])
    train(model, SGD(model.parameters(), 0.1))
    assert not unchanged(model, before)


def _copied(model: Net) -> nn.Module:
    return copy.deepcopy(model)


def _pickled(model: Net) -> nn.Module:
    return pickle.loads(pickle.dumps(model))  # type: ignore[no-any-return]


def _trained_copy(model: Net) -> nn.Module:
    model(X).sum().backward()
    return copy.deepcopy(model)


def _assigned(model: Net) -> nn.Module:
    twin = copy.deepcopy(model)
    twin.load_state_dict({n: t.clone() for n, t in model.state_dict().items()}, assign=True)
    return twin


def _unfrozen(model: Net) -> nn.Module:
    keep_zeros(model.requires_grad_(False), kept_at_zero(model))
    return copy.deepcopy(model).requires_grad_(True)


def _reloaded(model: Net) -> nn.Module:
    twin = Net()
    twin.load_state_dict(model.state_dict())
    keep_zeros(twin, kept_at_zero(model))
    return twin


def _wrapped(model: Net) -> nn.Module:
    model(X).sum().backward()
    twin = copy.deepcopy(model)
    nn.Sequential(twin)(X)
    return twin


@pytest.mark.parametrize(
    "carry", [_copied, _trained_copy, _pickled, _assigned, _unfrozen, _reloaded, _wrapped]
)
def test_zeros_survive(carry: Callable[[Net], nn.Module]) -> None:
    model = sparse()
    before, twin = zeros(model), carry(model)
    assert unchanged(twin, before)
    train(twin, Adam(twin.parameters(), 0.01))
    assert unchanged(twin, before)
    assert unchanged(model, before)


@pytest.mark.parametrize("carry", [lambda model: model, _copied, _pickled])
def test_zeros_survive_compilation_in_one_graph(carry: Callable[[Net], nn.Module]) -> None:
    model = carry(sparse())
    before = zeros(model)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    train(compiled, SGD(model.parameters(), 0.1, momentum=0.9))
    assert unchanged(model, before)


def test_zeros_survive_where_parts_of_the_model_are_called_alone() -> None:
    model = copy.deepcopy(sparse())
    before = zeros(model)
    parts = nn.Sequential(model.a, model.b)
    train(parts, SGD(model.parameters(), 0.1))
    assert unchanged(model, before)


def test_gradients_that_are_not_finite_do_not_reach_zeros() -> None:
    model = sparse()
    (model(X).sum() * float("inf")).backward()
    for name, zero in zeros(model).items():
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert not gradient[zero].any()
        assert not gradient[~zero].isfinite().all()


def test_a_model_that_is_cut_again_keeps_its_zeros() -> None:
    model = sparse().eval()
    plan = discover(model, [X], np.random.default_rng(0))
    pruned = apply(model, plan, {"a": np.array([1, 4])})
    before = zeros(pruned)
    assert before["a.weight"].shape == (6, 6)
    train(pruned, SGD(pruned.parameters(), 0.1))
    assert unchanged(pruned, before)


def test_zeros_are_kept_on_when_a_unit_is_restored() -> None:
    torch.manual_seed(0)
    dense = Net().eval()
    plan = discover(dense, [X], np.random.default_rng(0))
    atoms = {"a": np.array([1, 4])}
    pruned = apply(dense, plan, atoms)
    names = ("a.weight", "b.weight")
    scores = {name: pruned.get_parameter(name).detach().abs() for name in names}
    set_to_zero(pruned, unstructured_masks(scores, 0.5))
    whole = restored(pruned, dense, plan, atoms, ["a"])
    before = zeros(whole)
    assert sum(int(z.sum()) for z in before.values()) == (6 * 6 + 3 * 6) // 2
    values = whole.get_parameter("a.weight").detach().clone()
    train(whole, SGD(whole.parameters(), 0.1))
    assert unchanged(whole, before)
    assert not torch.equal(whole.get_parameter("a.weight").detach()[1], values[1])


def test_a_model_from_which_a_block_is_gone_trains_on() -> None:
    model = sparse()
    model.b = nn.Identity()  # type: ignore[assignment]
    optimiser = SGD(model.parameters(), 0.1)
    before = model.a.weight.detach() == 0
    train(model, optimiser)
    assert torch.equal(model.a.weight.detach() == 0, before)


def test_zeros_of_a_block_go_and_come_back_with_it() -> None:
    torch.manual_seed(0)
    inner, plain, x = "blocks.0.a.weight", "out.weight", torch.randn(4, 8, 8)
    dense = Blocks().eval()
    set_to_zero(dense, {inner: dense.get_parameter(inner) > 0})
    plan = discover(dense, [x], np.random.default_rng(0))
    atoms = {"blocks.0:block": np.array([0])}
    pruned = apply(dense, plan, atoms)
    assert kept_at_zero(pruned) == []
    set_to_zero(pruned, {plain: pruned.get_parameter(plain) > 0})
    assert kept_at_zero(pruned) == [plain]
    costs = count_costs(pruned, [x], 4)
    assert costs.sparse_macs < costs.macs
    whole = restored(pruned, dense, plan, atoms, [*atoms])
    assert sorted(kept_at_zero(whole)) == [inner, plain]


def test_hooks_do_not_pile_up() -> None:
    model = sparse()
    for _ in range(3):
        model(X).sum().backward()
    keep_zeros(model, ["a.weight"])
    hooks: Any = model.a.weight._backward_hooks
    assert len(hooks) == 1
    assert not model.b.weight._backward_hooks


def test_inputs_of_a_transposed_convolution_lie_along_its_first_dimension() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ConvTranspose2d(8, 4, 2), nn.Linear(4, 2))
    assert [input_dim(model, f"{at}.weight") for at in range(3)] == [1, 0, 1]
    mask = n_m_mask(torch.rand(8, 3, 2, 2), 1, 4, dim=0)
    assert torch.equal(mask.unflatten(0, (2, 4)).sum(1), torch.ones(2, 3, 2, 2, dtype=torch.int64))


def test_zeros_survive_export(tmp_path: Path) -> None:
    model = sparse()
    export_onnx(model, [X], tmp_path / "model.onnx")
    stored = onnx.load(tmp_path / "model.onnx").graph.initializer
    weights = [numpy_helper.to_array(x) for x in stored if len(x.dims) == 2]
    assert sum(int((w == 0).sum()) for w in weights) == sum(
        int(mask.sum()) for mask in zeros(model).values()
    )


def test_the_state_dict_stays_as_it_is() -> None:
    assert sparse().state_dict().keys() == Net().state_dict().keys()
    assert kept_at_zero(sparse()) == ["a.weight", "b.weight"]
    assert kept_at_zero(Net()) == []


def test_masks_of_another_model_are_told() -> None:
    with pytest.raises(ModelError, match=r"shape \(2, 2\) was given for 'a.weight': \(8, 6\)"):
        set_to_zero(Net(), {"a.weight": torch.ones(2, 2, dtype=torch.bool)})
    with pytest.raises(ModelError, match="'c': no such parameter"):
        set_to_zero(Net(), {"c": torch.ones(1, dtype=torch.bool)})


def test_a_second_set_of_zeros_keeps_the_first() -> None:
    model = Net()
    for name in ("a.weight", "b.weight"):
        set_to_zero(model, {name: model.get_parameter(name).abs() > 0.1})
    before = zeros(model)
    train(model, SGD(model.parameters(), 0.1))
    assert unchanged(model, before)
