"""The smaller model: what it holds, and that the dense one stays as it was."""

import copy
import hashlib
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.errors import ModelError
from autoprune.surgery.apply import apply, without
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.ids import Ids
from autoprune.surgery.mask import Masked
from autoprune.surgery.plan import Plan
from autoprune.surgery.units import Cut

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GONE = {"stem": np.array([1, 6]), "a": np.array([0, 2, 3])}


class Residual(nn.Module):
    """A stream of 8 channels, a branch of 6 with a depthwise layer, and a flattened head."""

    def __init__(self, stream: int = 8, branch: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stream, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stream)
        self.a = nn.Conv2d(stream, branch, 1)
        self.depthwise = nn.Conv2d(branch, branch, 3, padding=1, groups=branch)
        self.b = nn.Conv2d(branch, stream, 1, bias=False)
        self.head = nn.Linear(stream * 4, 5)
        self.register_buffer("scale", torch.ones(stream, 1, 1))
        self.register_buffer("hidden", torch.ones(stream, 1, 1), persistent=False)

    scale: Tensor
    hidden: Tensor

    def forward(self, x: Tensor) -> Any:
        y = F.relu(self.norm(self.stem(x)))
        y = y * self.scale * self.hidden + self.b(F.relu(self.depthwise(self.a(y))))
        return self.head(F.adaptive_avg_pool2d(y, 2).flatten(1))


@pytest.fixture
def model() -> Residual:
    made = Residual()
    made.norm.running_mean = torch.linspace(-0.5, 0.5, 8)
    made.norm.running_var = torch.linspace(0.5, 1.5, 8)
    made.norm.weight.data = torch.linspace(0.6, 1.4, 8)
    made.norm.bias.data = torch.linspace(0.3, -0.3, 8)
    return made


def plan_of(model: nn.Module) -> Plan:
    return discover(model, [IMAGES], np.random.default_rng(0))


def digest(model: nn.Module) -> str:
    """Hash every byte of every tensor, its version counter and its identity."""
    state = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        facts = (name, id(tensor), tensor._version, tensor.requires_grad, tensor.data_ptr())
        state.update(repr(facts).encode())
        state.update(tensor.detach().contiguous().numpy().tobytes())
    return state.hexdigest()


def keep(size: int, gone: Ids) -> list[int]:
    return [position for position in range(size) if position not in gone.tolist()]


def test_each_tensor_holds_the_kept_entries_of_the_dense_one(model: Residual) -> None:
    pruned = apply(model, plan_of(model), GONE)
    stream, branch = keep(8, GONE["stem"]), keep(6, GONE["a"])
    places = [4 * channel + place for channel in stream for place in range(4)]
    old, new = model.state_dict(), pruned.state_dict()
    expected = {
        "stem.weight": old["stem.weight"][stream],
        "norm.weight": old["norm.weight"][stream],
        "norm.bias": old["norm.bias"][stream],
        "norm.running_mean": old["norm.running_mean"][stream],
        "norm.running_var": old["norm.running_var"][stream],
        "norm.num_batches_tracked": old["norm.num_batches_tracked"],
        "a.weight": old["a.weight"][branch][:, stream],
        "a.bias": old["a.bias"][branch],
        "depthwise.weight": old["depthwise.weight"][branch],
        "depthwise.bias": old["depthwise.bias"][branch],
        "b.weight": old["b.weight"][stream][:, branch],
        "head.weight": old["head.weight"][:, places],
        "head.bias": old["head.bias"],
        "scale": old["scale"][stream],
    }
    assert list(new) == list(old)
    assert set(expected) == set(new)
    for name, tensor in expected.items():
        assert torch.equal(new[name], tensor), name
    assert pruned.get_buffer("hidden").shape == (6, 1, 1)


def test_the_dense_model_is_bit_identical_afterwards(model: Residual) -> None:
    plan, before = plan_of(model), digest(model)
    modes = [module.training for module in model.modules()]
    pruned = apply(model, plan, GONE)
    outputs(Masked(model, plan.cut(GONE)), [IMAGES])
    for tensor in [*pruned.parameters(), *pruned.buffers()]:
        tensor.data.zero_()
    assert digest(model) == before
    assert [module.training for module in model.modules()] == modes


def test_the_pruned_model_shares_no_memory_with_the_dense_one(model: Residual) -> None:
    dense = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    for other in (apply(model, plan_of(model), GONE), apply(model, plan_of(model), {})):
        own = {tensor.untyped_storage().data_ptr() for tensor in other.state_dict().values()}
        assert own.isdisjoint(dense)


def test_pruning_nothing_gives_an_equal_copy(model: Residual) -> None:
    twin = apply(model, plan_of(model), {})
    assert difference(outputs(twin, [IMAGES]), outputs(model, [IMAGES])) == 0.0
    empty = apply(model, plan_of(model), {"stem": np.array([], np.int64)})
    assert difference(outputs(empty, [IMAGES]), outputs(model, [IMAGES])) == 0.0


def test_the_masked_model_is_the_dense_one_with_its_readers_zeroed(model: Residual) -> None:
    found = outputs(Masked(model, plan_of(model).cut({"a": np.array([0, 2])})), [IMAGES])
    twin = copy.deepcopy(model)
    twin.b.weight.data[:, [0, 2]] = 0
    assert difference(found, outputs(twin, [IMAGES])) < 1e-6
    assert difference(found, outputs(model, [IMAGES])) > 1e-3


def test_sizes_of_modules_follow_their_weights(model: Residual) -> None:
    pruned = apply(model, plan_of(model), GONE)
    assert isinstance(pruned, Residual)
    assert (pruned.stem.in_channels, pruned.stem.out_channels) == (3, 6)
    assert (pruned.a.in_channels, pruned.a.out_channels, pruned.a.groups) == (6, 3, 1)
    assert pruned.norm.num_features == 6
    layer = pruned.depthwise
    assert (layer.in_channels, layer.out_channels, layer.groups) == (3, 3, 3)
    assert (pruned.head.in_features, pruned.head.out_features) == (24, 5)
    assert (model.stem.out_channels, model.depthwise.groups, model.norm.num_features) == (8, 6, 8)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv3d(4, 4, 1, groups=4),
        nn.Linear(4, 6),
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4, affine=False, track_running_stats=False),
        nn.InstanceNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm(4),
        nn.Embedding(4, 6),
        nn.ConvTranspose2d(4, 6, 3),
        nn.ConvTranspose2d(4, 8, 3, groups=2),
        nn.ConvTranspose1d(4, 4, 3, groups=4),
    ],
    ids=repr,
)
def test_a_module_that_is_not_cut_keeps_its_attributes(layer: nn.Module) -> None:
    def attributes(module: nn.Module) -> dict[str, Any]:
        return {k: v for k, v in vars(module).items() if not k.startswith("_")}

    assert attributes(without(layer, Cut())) == attributes(layer)


def test_a_grouped_transposed_convolution_elsewhere_still_runs() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ConvTranspose2d(4, 8, 2, groups=2)
    )
    assert plan_of(model).units["0"].atoms == 8


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
            self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.b.weight = self.a.weight
            self.again = self.a

        def forward(self, x: Tensor) -> Any:
            return self.head(F.relu(self.again(F.relu(self.b(self.a(self.stem(x)))))))

    model = Tied()
    twin = apply(model, plan_of(model), {"stem": np.array([2, 3])})
    assert isinstance(twin, Tied)
    assert twin.a.weight.shape == (6, 6, 1, 1)
    assert twin.b.weight is twin.a.weight
    assert twin.again is twin.a
    assert list(twin.state_dict()) == list(model.state_dict())


def test_kinds_and_gradient_flags_are_kept(model: Residual) -> None:
    model.a.weight.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    pruned = apply(model, plan_of(model), GONE)
    for (name, old), (other, new) in zip(
        model.named_parameters(), pruned.named_parameters(), strict=True
    ):
        assert (name, type(old), old.requires_grad) == (other, type(new), new.requires_grad)
        assert new.is_leaf
        assert new.grad is None
    buffers = zip(model.named_buffers(), pruned.named_buffers(), strict=True)
    for (name, before), (other, after) in buffers:
        assert (name, type(before), before.dtype) == (other, type(after), after.dtype)
    assert "hidden" not in pruned.state_dict()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_type_of_the_weights_is_kept(model: Residual, dtype: torch.dtype) -> None:
    plan = plan_of(model)
    pruned = apply(model.to(dtype), plan, GONE)
    assert {parameter.dtype for parameter in pruned.parameters()} == {dtype}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(model: Residual, training: bool) -> None:
    model.train(training)
    model.norm.eval()
    pruned = apply(model, plan_of(model), GONE)
    assert isinstance(pruned, Residual)
    assert pruned.training is training
    assert pruned.norm.training is False


def test_a_pruned_model_learns(model: Residual) -> None:
    pruned = apply(model, plan_of(model), GONE).train()
    before = {name: tensor.clone() for name, tensor in pruned.named_parameters()}
    optimiser = torch.optim.SGD(pruned.parameters(), lr=0.1)
    loss = F.cross_entropy(pruned(IMAGES), torch.tensor([0, 1]))
    loss.backward()
    optimiser.step()
    for name, parameter in pruned.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape
        assert not torch.equal(parameter, before[name]), name
    assert pruned.get_buffer("norm.num_batches_tracked").item() == 1
    assert model.norm.num_batches_tracked is not None
    assert model.norm.num_batches_tracked.item() == 0
    assert F.cross_entropy(pruned(IMAGES), torch.tensor([0, 1])).item() < loss.item()


def test_a_pruned_model_can_be_copied_and_pruned_again(model: Residual) -> None:
    pruned = apply(model, plan_of(model), GONE)
    twin = copy.deepcopy(pruned)
    assert difference(outputs(twin, [IMAGES]), outputs(pruned, [IMAGES])) == 0.0
    plan = plan_of(pruned)
    assert {name: unit.atoms for name, unit in plan.units.items()} == {"stem": 6, "a": 3}
    one_go = {"stem": np.array([1, 2, 6]), "a": np.array([0, 2, 3, 5])}
    again = apply(pruned, plan, {"stem": np.array([1]), "a": np.array([2])})
    at_once = apply(model, plan_of(model), one_go)
    for name, tensor in at_once.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_state_dicts_go_between_models_of_the_same_cut(model: Residual) -> None:
    plan = plan_of(model)
    pruned, other = apply(model, plan, GONE), apply(Residual(), plan, GONE)
    assert difference(outputs(other, [IMAGES]), outputs(pruned, [IMAGES])) > 0.01
    other.load_state_dict(pruned.state_dict())
    assert difference(outputs(other, [IMAGES]), outputs(pruned, [IMAGES])) == 0.0


def test_a_model_that_cannot_be_pickled_can_be_pruned(model: Residual) -> None:
    model.activation = lambda x: x  # type: ignore[assignment]
    pruned = apply(model, plan_of(model), GONE)
    assert outputs(pruned, [IMAGES])[0].shape == (2, 5)


def test_the_order_and_repetition_of_atoms_do_not_matter(model: Residual) -> None:
    plan = plan_of(model)
    pruned = apply(model, plan, {"a": np.array([3, 0, 2, 3])})
    expected = apply(model, plan, {"a": np.array([0, 2, 3])})
    for name, tensor in expected.state_dict().items():
        assert torch.equal(pruned.state_dict()[name], tensor), name


def test_the_order_of_dimensions_in_memory_does_not_change_the_values(model: Residual) -> None:
    plan = plan_of(model)
    expected = outputs(apply(model, plan, GONE), [IMAGES])
    last: Any = torch.channels_last
    pruned = apply(model.to(memory_format=last), plan, GONE)
    inputs = [IMAGES.to(memory_format=torch.channels_last)]
    assert difference(outputs(pruned, inputs), expected) < 1e-5


def test_a_model_without_the_tensors_of_the_plan_is_refused(model: Residual) -> None:
    plan = plan_of(model)
    other = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(ModelError, match=r"another model: .*a\.bias"):
        apply(other, plan, {"a": np.array([0])})


def test_a_smaller_model_than_the_plans_is_refused(model: Residual) -> None:
    plan = plan_of(model)
    with pytest.raises(ModelError, match=r"another model: a\.bias, a\.weight"):
        apply(Residual(branch=2), plan, {"a": np.array([4])})


def test_positions_that_do_not_exist_are_refused(model: Residual) -> None:
    with pytest.raises(ModelError, match=r"'head\.weight'.*does not fit"):
        without(model, Cut({"head.weight": {1: np.array([32])}}))
    with pytest.raises(ModelError, match=r"'head\.bias'"):
        without(model, Cut({"head.bias": {1: np.array([0])}}))


def test_a_larger_model_than_the_plans_is_refused(model: Residual) -> None:
    plan = plan_of(model)
    with pytest.raises(ModelError, match=r"another model: a\.weight"):
        apply(Residual(stream=16), plan, {"stem": np.array([1])})


def test_a_unit_of_another_plan_is_refused(model: Residual) -> None:
    with pytest.raises(ModelError, match="layer9"):
        apply(model, plan_of(model), {"layer9": np.array([0])})


def test_an_atom_that_does_not_exist_is_refused(model: Residual) -> None:
    for atom in (6, 99, -1):
        with pytest.raises(ModelError, match=r"'a' has the atoms 0 to 5"):
            apply(model, plan_of(model), {"a": np.array([atom])})


def test_removing_every_atom_is_refused(model: Residual) -> None:
    with pytest.raises(ModelError, match="'a' must keep one of its 6 atoms"):
        apply(model, plan_of(model), {"a": np.arange(6)})


@pytest.mark.parametrize("attribute", ["lock", "graph"])
def test_a_model_that_cannot_be_copied_is_refused(model: Residual, attribute: str) -> None:
    plan = plan_of(model)
    thing = threading.Lock() if attribute == "lock" else model.head.weight * 2
    object.__setattr__(model, attribute, thing)
    with pytest.raises(ModelError, match=r"copy\.deepcopy.*Remove"):
        apply(model, plan, GONE)


def test_a_model_that_cannot_be_copied_is_refused_by_discovery(model: Residual) -> None:
    object.__setattr__(model, "lock", threading.Lock())
    with pytest.raises(ModelError, match=r"copy\.deepcopy"):
        plan_of(model)
