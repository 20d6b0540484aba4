"""What a cut leaves is fitted to the dense layers: where they can be met, they are."""

import copy
import pickle
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.reconstruction import reconstruct as room
from autoprune.evaluation.reconstruction import regression
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.reconstruction.reconstruct import Targets, reconstruct, targets_of
from autoprune.evaluation.reconstruction.regression import fit
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import plan_of
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import set_to_zero
from autoprune.tasks import Classification
from tests.in_place import Scaling

POLICY = Policy({"inner": Choice("channel.l1", 1 / 3)})


def fitted(
    model: nn.Module, plan: Plan, task: Classification, atoms: Mapping[str, Ids], batches: int = 3
) -> tuple[nn.Module, nn.Module, int]:
    """Return a model as it is cut, what became of it, and multiply-adds."""
    targets = targets_of(model, task, plan, batches, 1, 0, "cpu")
    left = apply(model, plan, atoms)
    found = copy.deepcopy(left)
    return left, found, reconstruct(found, targets, plan.cut(atoms))


def gap(model: nn.Module, other: nn.Module, task: Classification) -> float:
    images, _ = next(task.batches("search"))
    with torch.no_grad():
        return float((model.eval()(images) - other.eval()(images)).square().mean())


class Twins(nn.Module):
    """The second half of the hidden channels is the first half twice as large."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(1, 8, 3, bias=bias)
        self.last = nn.Conv2d(8, 4, 3)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.hidden.weight[4:] = 2 * self.hidden.weight[:4]
            if self.hidden.bias is not None:
                self.hidden.bias[4:] = 2 * self.hidden.bias[:4]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.last(torch.relu(self.hidden(x))))
        found: Tensor = self.head(x.mean((2, 3)))
        return found


@pytest.mark.parametrize("bias", [True, False])
def test_channels_that_others_can_stand_for_are_not_missed(
    bias: bool, task: Classification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression, "RIDGE", 1e-6)
    torch.manual_seed(0)
    model = Twins(bias).eval()
    plan = plan_of(model, [next(task.batches("search"))[0][:2]])

    left, found, macs = fitted(model, plan, task, {"hidden": np.array(range(4, 8))})

    assert gap(left, model, task) > 1e-5
    assert gap(found, model, task) < 1e-9
    assert macs > 0


def test_a_cut_costs_less_of_what_the_dense_model_gives(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    recalibrate(net, task, 3, "cpu")
    dense = copy.deepcopy(net.state_dict())

    left, found, _ = fitted(net, plan, task, {"inner": np.array([0, 3, 5, 6])})

    recalibrate(left, task, 3, "cpu")
    assert gap(found, net, task) < 0.7 * gap(left, net, task)
    assert all(torch.equal(value, dense[name]) for name, value in net.state_dict().items())
    assert not any(module.training for module in found.modules())
    assert not any(module._forward_pre_hooks for module in found.modules())


def test_the_same_seed_gives_the_same_weights(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    atoms = {"inner": np.array([1, 2]), "stem": np.array([0])}

    first, again = (fitted(net, plan, task, atoms)[1].state_dict() for _ in range(2))

    assert all(torch.equal(first[name], again[name]) for name in first)


def test_weights_kept_at_zero_stay_there(net: nn.Module, plan: Plan, task: Classification) -> None:
    targets = targets_of(net, task, plan, 3, 1, 0, "cpu")
    atoms = {"inner": np.array([0, 3])}
    model = apply(net, plan, atoms)
    mask = torch.rand_like(model.get_parameter("outer.weight")) < 0.5
    set_to_zero(model, {"outer.weight": mask})
    before = model.get_parameter("outer.weight").clone()

    reconstruct(model, targets, plan.cut(atoms))

    assert torch.equal(model.get_parameter("outer.weight"), before)


class Again(nn.Module):
    """One layer that runs twice, and two that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.tied, self.other = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        self.other.weight = self.tied.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for layer in (self.twice, self.tied, self.other, self.twice):
            x = torch.relu(layer(x))
        found: Tensor = self.head(x.mean((2, 3)))
        return found


def test_layers_that_serve_several_places_stay_as_they_are(task: Classification) -> None:
    model = Again().eval()
    plan = plan_of(model, [next(task.batches("search"))[0][:2]])

    found = targets_of(model, task, plan, 3, 1, 0, "cpu")

    assert [*found.layers] == ["first", "head"]


def test_a_fit_that_helps_only_where_it_was_made_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer places than inputs, no ridge, noise: what fits them is far off elsewhere."""
    monkeypatch.setattr(regression, "RIDGE", 0.0)
    rng = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 2)
    before = layer.weight.detach().clone()
    read = torch.randn(1, 48, 64, generator=rng)
    wanted = read[0] @ before.T + 0.1 * torch.randn(48, 2, generator=rng)

    with torch.no_grad():
        fit(layer, read, wanted, normed=False)

    assert torch.equal(layer.weight, before)


def test_as_many_batches_as_memory_holds(
    net: nn.Module, plan: Plan, task: Classification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HELD", 20_000)

    def samples(memory: int) -> tuple[int, bool]:
        found = targets_of(net, task, plan, 3, memory, 0, "cpu")
        return found.samples, found.whole

    assert samples(800) == (24, True)
    assert samples(1_000) == (16, False)
    assert samples(1_000_000) == (8, False)  # one is needed


def scorer_of(net: nn.Module, plan: Plan, cost: CostModel, task: Classification) -> Scorer:
    importance = rank_atoms(net, plan, task, ["channel.l1"], 1, "cpu")
    return Scorer(net, plan, importance, cost, task, Recovery(), 0, "cpu")


def test_candidates_begin_reconstructed_and_it_is_counted(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification
) -> None:
    scorer = scorer_of(net, plan, cost, task)
    atoms = scorer.importance.removed(POLICY)
    model = scorer.build(POLICY)
    macs = reconstruct(model, targets_of(net, task, plan, 16, 1, 0, "cpu"), plan.cut(atoms))

    found = scorer.candidate(POLICY, 0)

    spent = 24 * scorer.share(POLICY) + macs / cost.dense.macs
    assert found.sample_forwards == pytest.approx(spent)
    assert all(
        torch.allclose(found.model.state_dict()[name], value, atol=1e-5)
        for name, value in model.state_dict().items()
    )


def test_what_is_not_cut_is_the_dense_model(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification
) -> None:
    scorer = scorer_of(net, plan, cost, task)

    found = scorer.candidate(Policy({}), 0).model

    assert torch.equal(found.get_parameter("inner.weight"), net.get_parameter("inner.weight"))


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match=r"recovery\.reconstruct must be true or false\. Got 1"):
        Recovery(reconstruct=1)  # type: ignore[arg-type]


def test_targets_hold_what_layers_give(net: nn.Module, plan: Plan, task: Classification) -> None:
    found: Targets = targets_of(net, task, plan, 3, 1, 0, "cpu")
    images = torch.cat([one for one, _ in task.batches("train")])
    assert not isinstance(found.inputs, Mapping)

    with torch.no_grad():
        stem = net.get_submodule("stem")(images).movedim(1, -1).reshape(-1, 8)

    assert torch.equal(found.inputs[0], images)
    assert torch.allclose(found.layers["stem"].outputs, stem[found.layers["stem"].at], atol=1e-6)


def test_targets_stay_in_their_process(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification
) -> None:
    scorer = scorer_of(net, plan, cost, task)
    fresh = len(pickle.dumps(scorer))

    first = scorer.candidate(POLICY, 0).reach(0)

    sent = pickle.dumps(scorer)
    assert len(sent) == fresh
    assert pickle.loads(sent).candidate(POLICY, 0).reach(0) == first


def test_statistics_of_norms_that_fit_no_data_do_not_matter(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    before = targets_of(net, task, plan, 3, 1, 0, "cpu").layers
    net.get_buffer("norm.running_var").fill_(1e6)
    net.get_buffer("inner_norm.running_mean").fill_(-7)
    stale = copy.deepcopy(net.state_dict())

    after = targets_of(net, task, plan, 3, 1, 0, "cpu").layers

    assert all(torch.equal(before[name].outputs, after[name].outputs) for name in before)
    assert all(torch.equal(value, stale[name]) for name, value in net.state_dict().items())


def test_a_model_that_changes_its_inputs_gives_the_same_again(
    net: nn.Module, task: Classification
) -> None:
    model = Scaling(net).eval()
    plan = plan_of(model, [next(task.batches("search"))[0][:2].clone()])
    targets = targets_of(model, task, plan, 3, 1, 0, "cpu")
    atoms = {"net.inner": np.array([1, 2])}
    found = [apply(model, plan, atoms) for _ in range(2)]

    for one in found:
        reconstruct(one, targets, plan.cut(atoms))

    first, again = (one.state_dict() for one in found)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_rows_that_a_detector_proposes_are_no_places(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.last = net, nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.last(self.net(x).repeat(2, 1))
            return found

    by_value = replace(plan, by_value=True)

    assert "last" in targets_of(Rows(), task, plan, 3, 1, 0, "cpu").layers
    found = targets_of(Rows(), task, by_value, 3, 1, 0, "cpu").layers
    assert "net.stem" in found
    assert "last" not in found


def test_a_layer_without_bias_is_not_moved_by_what_it_cannot_give() -> None:
    """Half of the inputs are gone, and their mean with them: only a bias could make up for it."""
    rng = torch.Generator().manual_seed(0)
    whole = torch.rand(256, 8, generator=rng) + 5
    weight = torch.randn(2, 8, generator=rng)
    read, wanted = whole[None, :, :4], whole @ weight.T

    def error_of(layer: nn.Linear) -> tuple[float, float]:
        with torch.no_grad():
            layer.weight.copy_(weight[:, :4])
            before = float((layer(read[0]) - wanted).square().mean())
            fit(layer, read, wanted, normed=False)
            return before, float((layer(read[0]) - wanted).square().mean())

    for bias in (True, False):
        before, after = error_of(nn.Linear(4, 2, bias=bias))
        assert after < 0.1 * before


def test_more_inputs_than_places_are_fitted_the_same_way() -> None:
    rng = torch.Generator().manual_seed(0)
    own, gap = torch.randn(1, 20, 30, generator=rng), torch.randn(1, 20, 3, generator=rng)
    ridge = regression.RIDGE * own.square().sum() / 30
    gram = own[0].T @ own[0] + ridge * torch.eye(30)

    found = regression._change(own, gap)

    assert torch.allclose(found[0], torch.linalg.solve(gram, own[0].T @ gap[0]), atol=1e-5)


def test_half_precision_is_fitted_in_full() -> None:
    rng = torch.Generator().manual_seed(0)
    read, layer = torch.randn(1, 64, 6, generator=rng), nn.Linear(6, 2).half()
    wanted = read[0] @ torch.randn(6, 2, generator=rng)

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert fit(layer, read.half(), wanted.half(), normed=False) > 0

    assert layer.weight.dtype == torch.float16
    weight = layer.weight.detach().float()
    assert float((read[0] @ weight.T - wanted).square().mean()) < 0.1


def test_a_norm_may_come_after_its_layer_has_run_again(task: Classification) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = (
                nn.Conv2d(1, 4, 3),
                nn.BatchNorm2d(4),
                nn.Linear(4, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.conv(x), self.conv(-x)
            found: Tensor = self.head((self.norm(first) + second).mean((2, 3)))
            return found

    model = Pair().eval()
    plan = plan_of(model, [next(task.batches("search"))[0][:2]])

    assert [*targets_of(model, task, plan, 3, 1, 0, "cpu").layers] == ["head"]


def test_a_norm_after_an_activation_in_place_takes_no_mean_of_the_layer_away(
    task: Classification,
) -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(inplace=True), nn.BatchNorm2d(4)),
        *(nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    ).eval()
    plan = plan_of(model, [next(task.batches("search"))[0][:2]])

    found = targets_of(model, task, plan, 3, 1, 0, "cpu").layers

    assert {name: one.normed for name, one in found.items()} == {"0": False, "3": True, "7": False}
