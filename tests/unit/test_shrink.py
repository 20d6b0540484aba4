"""Atoms that are to be cut fade first: proximal steps by hand, and what they are good for."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.agent.preparing.prepare import check_trainable
from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError, ModelError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.scoring.onward import onward
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.evaluation.training.shrink import growth, penalties, proximal, shrink
from autoprune.methods.regularised import Power
from autoprune.space.schema import SearchSpace
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied
from autoprune.surgery.units import Slice, Unit
from autoprune.tasks import Classification, Custom
from autoprune.tasks.base import SPLITS

MAKER = Slice("make", 0, np.array([[0, 3], [1, 4], [2, 5]]), reads=False)
READER = Slice("read", 1, np.array([[2], [1], [0]]), reads=True)
MEAN = Slice("mean", 0, np.array([[0], [1], [2]]), reads=False)
UNIT = Unit("u", 3, (MAKER, READER, MEAN))
METHODS = ["channel.l1", "channel.regularised_l1", "channel.regularised_l2"]
POLICY = Policy({u: Choice("channel.regularised_l2", 0.5) for u in ("stem", "inner")})


def parameters() -> dict[str, Tensor]:
    make = torch.tensor([[1.0], [2.0], [3.0], [-2.0], [0.5], [0.1]])
    return {"make": make, "read": torch.tensor([[0.25, 4.0, -2.0]])}


def test_the_l1_step_draws_every_weight_of_an_atom_to_zero_and_stops_there() -> None:
    found = parameters()
    proximal(UNIT, np.array([0, 2]), found, 1, 0.5)
    assert found["make"].ravel().tolist() == [0.5, 2.0, 2.5, -1.5, 0.5, 0.0]
    assert found["read"].tolist() == [[0.0, 4.0, -1.5]]


def test_the_group_step_draws_the_norm_of_all_an_atom_owns_to_zero() -> None:
    found = parameters()
    proximal(UNIT, np.array([0]), found, 2, 0.5)
    # atom 0 owns 1, -2 and -2: norm 3, size 3
    kept = 1 - 0.5 * math.sqrt(3) / 3
    assert found["make"].ravel().tolist() == pytest.approx(
        [kept, 2.0, 3.0, -2 * kept, 0.5, 0.1], rel=1e-6
    )
    assert found["read"].ravel().tolist() == pytest.approx([0.25, 4.0, -2 * kept], rel=1e-6)


def test_a_group_smaller_than_the_step_becomes_zero_and_stays_zero() -> None:
    for _ in range(2):
        found = parameters()
        proximal(UNIT, np.array([2, 0]), found, 2, 100.0)
        assert found["make"].ravel().tolist() == [0.0, 2.0, 0.0, 0.0, 0.5, 0.0]
        assert found["read"].tolist() == [[0.0, 4.0, 0.0]]
    zeros = {name: torch.zeros_like(tensor) for name, tensor in parameters().items()}
    proximal(UNIT, np.array([0]), zeros, 2, 0.1)
    assert not any(bool(tensor.isnan().any() or tensor.any()) for tensor in zeros.values())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.25, 0.5, 0.75, 1.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("cosine", [(1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1.0]),
    ],
)
def test_the_strength_grows_by_its_schedule(schedule: Any, expected: list[float]) -> None:
    recovery = Recovery(shrink_steps=4, shrink_schedule=schedule)
    assert [growth(recovery, step) for step in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shrink_steps": -1}, r"shrink_steps must be a whole number of at least 0\. Got -1"),
        ({"shrink_steps": 1.5}, "shrink_steps must be a whole number"),
        ({"shrink_strength": -0.1}, "shrink_strength must be a number of at least 0"),
        ({"shrink_strength": float("nan")}, "shrink_strength must be a number"),
        ({"shrink_schedule": "fast"}, "must be one of linear, constant, cosine. Got 'fast'"),
        ({"shrink_schedule": None}, "must be one of linear"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recovery(**wrong)


def test_only_units_with_a_regularised_criterion_have_a_penalty() -> None:
    methods = ["channel.l1", "channel.regularised_l1", "head.regularised_l2", "2:4.l1"]
    policy = Policy({name: Choice(name, 0.5) for name in methods})
    assert penalties(policy) == {"channel.regularised_l1": 1, "head.regularised_l2": 2}


def group_norms(model: nn.Module, unit: Unit) -> Tensor:
    """Return the norm of all parameters of each atom, by way of the plan's own positions."""
    named = dict(model.named_parameters())
    squares = torch.zeros(unit.atoms)
    for part in unit.slices:
        if part.tensor in named:
            values = named[part.tensor].detach().movedim(part.dim, 0)
            for atom, at in enumerate(part.index):
                squares[atom] += values[at].square().sum()
    return squares.sqrt()


@pytest.fixture
def trained(net: nn.Module, task: Classification) -> nn.Module:
    fine_tune(net, task, 60, Recovery(), "cpu")
    return net


@pytest.mark.parametrize("power", [1, 2])
def test_what_is_to_be_cut_fades_and_the_loss_after_the_cut_is_lower(
    trained: nn.Module, plan: Plan, task: Classification, power: Power
) -> None:
    # the atoms that matter most by magnitude, so that the cut hurts
    order = rank_atoms(trained, plan, task, [f"channel.l{power}"], 1, "cpu")
    policy = Policy({name: Choice(f"channel.l{power}", 0.5) for name in plan.units})
    spared = order.removed(policy)
    gone = {name: np.setdiff1d(np.arange(u.atoms), spared[name]) for name, u in plan.units.items()}
    losses = []
    for strength in (0.0, 5.0):
        faded = copied(trained)
        recovery = Recovery(shrink_strength=strength)
        assert shrink(faded, plan, gone, dict.fromkeys(gone, power), task, recovery, "cpu") == 240
        pruned = apply(faded, plan, gone)
        recalibrate(pruned, task, 3, "cpu")
        losses.append(measure(pruned, task, "search", "cpu").loss)
        for name, unit in plan.units.items():
            share = group_norms(faded, unit) / group_norms(trained, unit)
            assert (float(share[gone[name]].max()) < 0.2) == (strength > 0)
            assert float(share[spared[name]].min()) > 0.7
    assert losses[1] < 0.8 * losses[0]


def test_units_without_a_penalty_do_not_fade(
    trained: nn.Module, plan: Plan, task: Classification
) -> None:
    gone = {name: np.array([0, 1]) for name in plan.units}
    faded = copied(trained)
    shrink(faded, plan, gone, {"inner": 2}, task, Recovery(), "cpu")
    share = {
        name: group_norms(faded, unit)[:2] / group_norms(trained, unit)[:2]
        for name, unit in plan.units.items()
    }
    assert float(share["inner"].max()) < 0.1
    assert float(share["stem"].min()) > 0.7


class Attention(nn.Module):
    """Three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(36, 8)
        self.q, self.k, self.v = (nn.Linear(8, 12) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x.flatten(1))[:, None]
        wide = (layer(x) for layer in (self.q, self.k, self.v))
        parts = (y.unflatten(-1, (len(self.scale), -1)) for y in wide)
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = (q @ k.transpose(2, 3) * self.scale).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2)).mean(1)


@pytest.mark.parametrize("power", [1, 2])
def test_heads_fade_too(task: Classification, power: Power) -> None:
    torch.manual_seed(0)
    model = Attention()
    images, _ = next(task.batches("search"))
    plan = discover(model.eval(), [images[:2]], np.random.default_rng(0))
    (head,) = plan.of("head")
    faded = copied(model)
    gone: dict[str, Ids] = {head: np.array([1])}
    recovery = Recovery(shrink_strength=5.0)
    shrink(faded, plan, gone, {head: power}, task, recovery, "cpu")
    share = group_norms(faded, plan.units[head]) / group_norms(model, plan.units[head])
    assert float(share[1]) < 0.1
    assert float(share[[0, 2]].min()) > 0.7


@pytest.fixture
def scorer(trained: nn.Module, plan: Plan, task: Classification) -> Scorer:
    importance = rank_atoms(trained, plan, task, METHODS, 1, "cpu")
    recovery = Recovery(shrink_steps=5, calibration_batches=2)
    cost = CostModel(trained, plan)
    return Scorer(trained, plan, importance, cost, task, recovery, seed=0, device="cpu")


def state_of(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def test_a_score_shrinks_and_counts_it_as_training_of_the_dense_model(scorer: Scorer) -> None:
    before = state_of(scorer.model)
    without = replace(scorer, recovery=replace(scorer.recovery, shrink_steps=0))
    plain, with_it = without.score(POLICY, 2)[1], scorer.score(POLICY, 2)[1]
    assert with_it.sample_forwards == pytest.approx(plain.sample_forwards + 3 * 5 * 8)
    assert with_it.loss != plain.loss
    assert all(map(torch.equal, state_of(scorer.model), before))


def test_without_a_loss_the_teacher_is_counted_wherever_it_begins(
    trained: nn.Module, plan: Plan, task: Classification
) -> None:
    data = {split: [images for images, _ in task.batches(split)] for split in SPLITS}
    own = Custom(data, evaluate=lambda model, images: model(images).amax(1))
    importance = rank_atoms(trained, plan, None, METHODS, 1, "cpu")
    recovery = Recovery(shrink_steps=5, calibration_batches=2)
    cost = CostModel(trained, plan)
    scorer = Scorer(trained, plan, importance, cost, own, recovery, seed=0, device="cpu")
    without = replace(scorer, recovery=replace(recovery, shrink_steps=0))

    for begin in (partial(onward, before=None), Scorer.candidate):
        spent, less = (begin(one, POLICY, 2).sample_forwards for one in (scorer, without))
        assert spent - less == pytest.approx((3 + 1) * 5 * 8)


def test_scores_of_other_methods_are_not_touched_by_it(scorer: Scorer) -> None:
    policy = Policy({"stem": Choice("channel.l1", 0.5)})
    stronger = replace(scorer, recovery=replace(scorer.recovery, shrink_strength=9.0))
    one, other = scorer.score(policy, 2)[1], stronger.score(policy, 2)[1]
    assert replace(one, seconds=0) == replace(other, seconds=0)
    assert scorer.fingerprint(2) != stronger.fingerprint(2)


def test_the_same_seed_shrinks_alike(shuffling: Scorer) -> None:
    first, score = shuffling.score(POLICY, 2)
    torch.rand(17)
    second, again = shuffling.score(POLICY, 2)
    assert all(map(torch.equal, state_of(first), state_of(second)))
    assert again.loss == score.loss
    assert (
        replace(shuffling, seed=1).score(POLICY, 0)[1].loss != shuffling.score(POLICY, 0)[1].loss
    )


def test_shrinking_does_not_change_which_batches_come_after_it(
    shuffling: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []
    loss = Classification.loss

    def noting(self: Classification, outputs: Any, batch: Any) -> Tensor:
        seen[-1].append(float(batch[0].double().sum()))
        return loss(self, outputs, batch)

    shuffling.search_split.reading()  # asks for losses once, to see how to divide batches
    monkeypatch.setattr(Classification, "loss", noting)
    for method in ("channel.l1", "channel.regularised_l1"):
        seen.append([])
        shuffling.score(Policy({"inner": Choice(method, 0.5)}), 3)
    plain, shrunk = seen
    assert len(shrunk) == len(plain) + 5
    assert shrunk[5:] == plain


@pytest.mark.parametrize(
    ("method", "steps", "refused"),
    [
        ("channel.regularised_l1", 5, True),
        ("channel.regularised_l1", 0, False),
        ("head.l1", 5, False),
    ],
)
def test_a_frozen_model_cannot_shrink(
    net: nn.Module, method: str, steps: int, refused: bool
) -> None:
    space = SearchSpace.model_validate({"methods": [method], "sparsities": [0.5]})
    recovery = Recovery(score_steps=0, recover_steps=0, shrink_steps=steps)
    request: Any = SimpleNamespace(model=net.requires_grad_(False), space=space, recovery=recovery)
    with pytest.raises(ModelError, match="shrink_steps to 0") if refused else nullcontext():
        check_trainable(request)
    net.get_parameter("head.bias").requires_grad_(True)
    check_trainable(request)
