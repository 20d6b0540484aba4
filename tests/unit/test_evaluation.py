"""What a policy is worth: every number here can be worked out by hand."""

import copy
import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.errors import CandidateError, DataError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.pruning.importance import Importance, rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.surgery.modes import seeded
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

METHODS = ["channel.l1", "channel.taylor"]
POLICY = Policy({"stem": Choice("channel.l1", 0.5), "inner": Choice("channel.taylor", 1 / 3)})
PLAIN = Recovery(learning_rate=0.1, momentum=0.0, weight_decay=0.0)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def task_of(train: Any, search: Any = None) -> Classification:
    return Classification(dict.fromkeys(("search", "test"), search or train) | {"train": train})


# --- randomness


def draw(loader: Any = None) -> list[Any]:
    numbers = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return numbers + [x.tolist() for (x,) in loader or []]


def loaders() -> list[Any]:
    data = TensorDataset(torch.arange(20.0))
    generators = [torch.Generator().manual_seed(at) for at in range(3)]
    inner = RandomSampler(data, generator=generators[2])
    return [
        DataLoader(data, 4, shuffle=True),
        DataLoader(data, 4, shuffle=True, generator=generators[0]),
        DataLoader(data, 4, sampler=RandomSampler(data, generator=generators[1])),
        DataLoader(data, batch_sampler=BatchSampler(inner, 4, drop_last=False)),
    ]


def test_nobody_starts_cuda_to_isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda at=0: asked.append(at))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, at=0: asked.append(at))
    left: list[int] = []  # seeds that CUDA would begin with
    monkeypatch.setattr(torch.cuda, "manual_seed_all", left.append)
    torch.manual_seed(123)
    with isolated(7), seeded():
        draw()
    assert asked == []
    assert left[-1] == 123
    with seeded():
        draw()
    assert left[-1] == 123


@pytest.mark.parametrize("index", range(4))
def test_isolated_repeats_whatever_was_drawn_before(index: int) -> None:
    loader = loaders()[index]
    found = []
    for _ in range(2):
        with isolated(7, loader):
            found.append(draw(loader))
        draw(loader)
    assert found[0] == found[1]
    with isolated(8, loader):
        assert draw(loader) != found[0]


@pytest.mark.parametrize("index", range(4))
def test_isolated_leaves_no_trace(index: int) -> None:
    def after(disturb: bool) -> list[Any]:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        loader = loaders()[index]
        if disturb:
            with suppress(KeyError), isolated(7, loader):
                raise KeyError(draw(loader))
        return draw(loader)

    with torch.random.fork_rng([]):
        assert after(True) == after(False)


# --- measuring


class Fixed(nn.Module):
    """Returns its input: the data are the outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_loss_and_quality_are_means_over_samples_not_batches() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    classes = torch.tensor([0, 0, 1])
    task = task_of([(logits[:2], classes[:2]), (logits[2:], classes[2:])])
    found = measure(Fixed(), task, "search", "cpu")
    # -log softmax of the right class: log(1 + e^-2), log(1 + e^1), log(1 + e^3)
    by_hand = sum(np.log1p(np.exp(gap)) for gap in (-2, 1, 3)) / 3
    assert found.loss == pytest.approx(by_hand)
    assert found.quality == pytest.approx(1 / 3)
    assert found.samples == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_fails_the_candidate(bad: float) -> None:
    task = task_of([(torch.tensor([[1.0, bad]]), torch.tensor([0]))])
    with pytest.raises(CandidateError, match="loss on the search split is"):
        measure(Fixed(), task, "search", "cpu")


def test_measuring_changes_neither_weights_nor_modes(net: nn.Module, task: Classification) -> None:
    net.train()
    net.get_submodule("norm").eval()
    before, found = state_of(net), measure(net, task, "search", "cpu")
    assert same(state_of(net), before)
    assert net.training
    assert not net.get_submodule("norm").training
    assert measure(net.eval(), task, "search", "cpu") == found  # eval mode either way


# --- recalibration


def test_recalibration_gives_the_means_of_the_batches_exactly(
    net: nn.Module, task: Classification
) -> None:
    stem, norm = net.get_submodule("stem"), net.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.fill_(100.0)
    norm.momentum = 0.25
    used = [stem(images) for images, _ in list(task.batches("train"))[:2]]
    assert recalibrate(net, task, 2, "cpu") == 16
    mean = torch.stack([x.mean((0, 2, 3)) for x in used]).mean(0)
    variance = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in used]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == 0.25
    assert not any(module.training for module in net.modules())


def test_recalibration_changes_statistics_only(net: nn.Module, task: Classification) -> None:
    before = state_of(net)
    recalibrate(net, task, 3, "cpu")
    changed = {n for n, tensor in net.state_dict().items() if not torch.equal(tensor, before[n])}
    assert {name.rpartition(".")[2] for name in changed} == {
        *("running_mean", "running_var", "num_batches_tracked"),
    }
    assert recalibrate(net, task, 99, "cpu") == 24  # one pass at most


def test_dropout_stays_off_while_norms_are_recalibrated() -> None:
    norm = nn.BatchNorm1d(2)
    model = nn.Sequential(nn.Dropout(0.9), norm)
    images = torch.randn(16, 2)
    recalibrate(model, task_of([(images, torch.zeros(16, dtype=torch.int64))]), 1, "cpu")
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, images.mean(0))


def test_without_batch_norms_nothing_is_read() -> None:
    assert recalibrate(nn.Linear(2, 2), task_of([("never", "looked at")]), 3, "cpu") == 0


# --- fine-tuning


def test_two_steps_of_training_by_hand() -> None:
    model = nn.Linear(2, 3)
    images, classes = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    by_hand = copy.deepcopy(model)
    for rate in (0.1, 0.05):  # the cosine is half-way down after one of two steps
        loss = cross_entropy(by_hand(images), classes)
        slopes = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(by_hand.parameters(), slopes, strict=True):
                parameter.sub_(rate * slope)
    assert fine_tune(model, task_of([(images, classes)]), 2, PLAIN, "cpu") == 8
    torch.testing.assert_close(model.state_dict(), by_hand.state_dict())


def test_momentum_is_nesterovs_and_decay_is_added() -> None:
    model = nn.Linear(2, 3)
    images, classes = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    start = model.weight.detach().clone()
    (slope,) = torch.autograd.grad(cross_entropy(model(images), classes), [model.weight])
    recovery = Recovery(learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    fine_tune(model, task_of([(images, classes)]), 1, recovery, "cpu")
    expected = start - 0.1 * 1.9 * (slope + 0.5 * start)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_training_goes_round_the_data_and_ends_in_eval_mode(
    net: nn.Module, task: Classification
) -> None:
    assert fine_tune(net, task, 5, PLAIN, "cpu") == 40
    assert not any(module.training for module in net.modules())


def test_no_steps_change_nothing(net: nn.Module, task: Classification) -> None:
    before = state_of(net)
    assert fine_tune(net, task, 0, PLAIN, "cpu") == 0
    assert same(state_of(net), before)


def test_frozen_parameters_stay(net: nn.Module, task: Classification) -> None:
    net.get_parameter("stem.weight").requires_grad_(False)
    before = state_of(net)
    fine_tune(net, task, 1, PLAIN, "cpu")
    assert torch.equal(net.state_dict()["stem.weight"], before["stem.weight"])
    assert not torch.equal(net.state_dict()["head.weight"], before["head.weight"])


def test_training_that_diverges_fails_the_candidate(net: nn.Module, task: Classification) -> None:
    wild = replace(PLAIN, learning_rate=1e9)
    with pytest.raises(CandidateError, match=r"training loss became (nan|inf)"):
        fine_tune(net, task, 20, wild, "cpu")


# --- importance


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 0.999])
def test_a_policy_removes_the_least_important_atoms_of_its_method(sparsity: float) -> None:
    order = {
        "channel.l1": {"u": np.array([5, 3, 7, 0, 1, 2, 4, 6])},
        "channel.l2": {"u": np.arange(8)},
    }
    importance = Importance(order, {}, 0)
    count = min(round(8 * sparsity), 7)
    removed = importance.removed(Policy({"u": Choice("channel.l1", sparsity)}))
    assert removed.keys() == ({"u"} if count else set())
    assert removed.get("u", np.array([])).tolist() == sorted([5, 3, 7, 0, 1, 2, 4, 6][:count])
    other = importance.removed(Policy({"u": Choice("channel.l2", sparsity)}))
    assert other.get("u", np.array([])).tolist() == list(range(count))


@pytest.fixture
def importance(net: nn.Module, plan: Plan, task: Classification) -> Importance:
    return rank_atoms(net, plan, task, METHODS, 2, "cpu")


def test_atoms_are_ranked_by_the_weights_of_all_coupled_layers(
    net: nn.Module, importance: Importance
) -> None:
    sums = [net.get_parameter(f"{name}.weight").abs().sum((1, 2, 3)) for name in ("stem", "outer")]
    weakest = (sums[0] + sums[1]).argsort()[:3].sort().values
    removed = importance.removed(Policy({"stem": Choice("channel.l1", 3 / 8)}))
    assert removed["stem"].tolist() == weakest.tolist()


def test_gradients_are_gathered_batch_by_batch(
    net: nn.Module, task: Classification, importance: Importance
) -> None:
    weight = net.get_parameter("outer.weight")  # what reads the atoms of `inner`
    change = torch.zeros(12)
    for images, classes in list(task.batches("train"))[:2]:
        (slope,) = torch.autograd.grad(cross_entropy(net(images), classes), [weight])
        change += (weight * slope).sum((0, 2, 3)).abs()
    order = change.argsort().tolist()
    for count in range(1, 12):
        removed = importance.removed(Policy({"inner": Choice("channel.taylor", count / 12)}))
        assert removed["inner"].tolist() == sorted(order[:count])
    assert importance.samples == 16


def test_ranking_leaves_the_model_as_it_is(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    before = state_of(net.train())
    rank_atoms(net, plan, task, METHODS, 2, "cpu")
    assert same(state_of(net), before)
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_magnitudes_need_no_data(net: nn.Module, plan: Plan) -> None:
    assert rank_atoms(net, plan, task_of([("odd",)]), ["channel.l2"], 2, "cpu").samples == 0


# --- scores


@pytest.fixture
def scorer(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification, importance: Importance
) -> Scorer:
    recovery = Recovery(score_steps=4, recover_steps=6, calibration_batches=2, reconstruct=False)
    return Scorer(net, plan, importance, cost, task, recovery, seed=0, device="cpu")


def test_the_same_policy_has_the_same_score(shuffling: Scorer) -> None:
    first_model, first = shuffling.score(POLICY, 4)
    torch.rand(17)
    other = Policy({"stem": Choice("channel.l1", 0.25)})
    assert shuffling.score(other, 4)[1].loss != first.loss
    model, again = shuffling.score(POLICY, 4)
    assert replace(again, seconds=0) == replace(first, seconds=0)
    assert same(state_of(model), state_of(first_model))
    assert replace(shuffling, seed=1).score(POLICY, 4)[1].loss != first.loss


def test_scoring_leaves_the_dense_model_and_the_random_numbers_alone(shuffling: Scorer) -> None:
    before, numbers = state_of(shuffling.model), torch.get_rng_state()
    shuffling.score(POLICY, 4)
    assert same(state_of(shuffling.model), before)
    assert torch.equal(torch.get_rng_state(), numbers)


def test_a_score_counts_what_it_cost(scorer: Scorer) -> None:
    model, score = scorer.score(POLICY, 4)
    # 16 samples for norms, 4 steps of 8 at three forwards each, 24 samples measured; all on a
    # model of 4 stem and 8 inner channels: 36 (9 x 4 + 2 x 9 x 4 x 8) + 3 x 4 of 64,824 MACs
    share = (36 * (36 + 576) + 12) / 64_824
    assert score.sample_forwards == pytest.approx(share * (16 + 3 * 32 + 24))
    assert scorer.kept(POLICY) == {"stem": 4, "inner": 8}
    images, _ = next(scorer.task.batches("search"))
    assert count_costs(model, [images[:2]], 2) == scorer.cost.price({"stem": 4, "inner": 8})
    assert score.seconds > 0


def test_a_score_is_recalibration_then_training_then_a_measurement(scorer: Scorer) -> None:
    model = scorer.build(POLICY)
    recalibrate(model, scorer.task, 2, "cpu")
    fine_tune(model, scorer.task, 4, scorer.recovery, "cpu")
    by_hand = measure(model, scorer.task, "search", "cpu")
    score = scorer.score(POLICY, 4)[1]
    assert (score.loss, score.quality) == (by_hand.loss, by_hand.quality)


def test_ways_of_scoring_that_differ_have_other_fingerprints(scorer: Scorer) -> None:
    def with_recovery(**changes: Any) -> Scorer:
        return replace(scorer, recovery=replace(scorer.recovery, **changes))

    same_way = with_recovery(finalists=1, recover_steps=9)
    assert same_way.fingerprint(4) == scorer.fingerprint(4)
    others = [
        scorer.fingerprint(5),
        replace(scorer, seed=1).fingerprint(4),
        with_recovery(learning_rate=0.5).fingerprint(4),
        with_recovery(calibration_batches=3).fingerprint(4),
    ]
    assert len({scorer.fingerprint(4), *others}) == 5


def test_a_loader_that_fails_is_not_the_candidates_fault(scorer: Scorer) -> None:
    broken = replace(scorer, task=task_of([("odd",)]))
    with pytest.raises(DataError, match="train loader must yield"):
        broken.score(POLICY, 1)
