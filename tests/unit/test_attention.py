"""Attention maps of hidden layers: what is compared, how far apart it is, what a weight does."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError
from autoprune.evaluation.distillation.attention import (
    attention_distance,
    channel_axis,
    last_of_each_size,
    watching,
)
from autoprune.evaluation.distillation.distill import Distillation, check_teachable, compared
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

POLICY = Policy({"stem": Choice("channel.l1", 0.5), "inner": Choice("channel.l1", 0.5)})
RECOVERY = Recovery(calibration_batches=2, learning_rate=0.1, reconstruct=False, distill=0.0)


@pytest.fixture
def scorer(net: nn.Module, plan: Plan, cost: CostModel, task: Classification) -> Scorer:
    importance = rank_atoms(net, plan, task, ["channel.l1"], 1, "cpu")
    return Scorer(net, plan, importance, cost, task, RECOVERY, seed=0, device="cpu")


def test_the_distance_is_that_of_the_formula() -> None:
    ours = torch.tensor([[[[1.0, 0.0]], [[1.0, 2.0]]]])  # 1 x 2 x 1 x 2
    dense = torch.tensor([[[[3.0, 0.0]]]])  # one channel, which looks to the left alone
    one = torch.tensor([1.0, 2.0]) / 5**0.5  # mean squares 1 and 2
    by_hand = (one - torch.tensor([1.0, 0.0])).square().sum()
    assert float(attention_distance(ours, dense)) == pytest.approx(float(by_hand))
    assert float(attention_distance(7 * ours, dense)) == pytest.approx(float(by_hand))
    assert float(attention_distance(dense, dense)) == 0


@pytest.mark.parametrize(
    ("ours", "dense", "axis"),
    [
        ((8, 4, 6, 6), (8, 12, 6, 6), 1),
        ((8, 6, 6, 4), (8, 6, 6, 12), 3),  # channels last
        ((8, 12, 6, 6), (8, 12, 6, 6), 1),
        ((8, 17, 24), (8, 17, 32), 2),
        ((8, 17, 32), (8, 17, 32), 2),
        ((8, 4, 1, 1), (8, 12, 1, 1), None),  # one place to look at
        ((8, 4, 6, 3), (8, 12, 6, 6), None),
        ((8, 4), (8, 12), None),
        ((8, 4, 6, 6), (4, 12, 6, 6), None),
    ],
)
def test_which_axis_holds_the_channels(
    ours: tuple[int, ...], dense: tuple[int, ...], axis: int | None
) -> None:
    assert channel_axis(torch.Size(ours), torch.Size(dense)) == axis


def test_the_last_module_of_each_size_is_compared() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.Flatten()
    )
    with watching(net) as seen:
        net(torch.randn(2, 1, 6, 6))
    assert last_of_each_size(seen, seen) == ["1", "3"]
    del seen["3"]  # type: ignore[attr-defined]
    assert last_of_each_size(seen, seen) == ["1", "2"]


def test_modules_are_watched_while_the_block_runs() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Identity())
    with watching(net, ["1", "gone"]) as seen:
        net(torch.ones(1))
    assert list(seen) == ["1"]
    net(torch.zeros(1))
    assert seen["1"].tolist() == [1]
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("modules", [(), ("outer", "inner_norm")])
def test_attention_is_drawn_to_the_dense_models(scorer: Scorer, modules: tuple[str, ...]) -> None:
    def after(weight: float) -> tuple[float, float]:
        own = replace(RECOVERY, distill_features=weight, distill_modules=modules)
        candidate = replace(scorer, recovery=own).candidate(POLICY, 20, final=True)
        candidate.reach(20)
        names = modules or ("outer",)
        found = 0.0
        with torch.no_grad():
            for images, _ in scorer.task.batches("search"):
                with watching(candidate.model, names) as ours, watching(scorer.model) as dense:
                    candidate.model(images), scorer.model(images)
                found += sum(float(attention_distance(ours[n], dense[n])) for n in names)
        return found, candidate.sample_forwards

    free, cheap = after(0.0)
    drawn, dear = after(20.0)
    assert drawn < 0.8 * free
    assert dear - cheap == pytest.approx(20 * 8), "each step runs the dense model once"


def test_both_terms_share_one_forward_of_the_dense_model(scorer: Scorer) -> None:
    def cost_of(**weights: float) -> float:
        own = replace(scorer, recovery=replace(RECOVERY, **weights))  # type: ignore[arg-type]
        candidate = own.candidate(POLICY, 2, final=True)
        candidate.reach(2)
        return candidate.sample_forwards

    assert cost_of(distill=1.0, distill_features=1.0) == cost_of(distill_features=1.0)


def test_modules_that_a_batch_passes_by_are_not_compared(scorer: Scorer) -> None:
    images = torch.randn(2, 1, 6, 6)
    recovery = replace(RECOVERY, distill_features=1.0)

    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.off = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), False
            self.pool = nn.AdaptiveAvgPool2d(3)

        def forward(self, images: Tensor) -> Tensor:
            hidden = self.one(images)
            found: Tensor = self.pool(hidden) if self.off else self.pool(self.two(hidden))
            return found

    dense, ours = Sometimes(), Sometimes()
    silent: Any = SimpleNamespace(
        has_loss=True, loss=lambda outputs, batch: 0.0, inputs=scorer.task.inputs
    )
    distillation = Distillation(dense, silent, recovery)

    def loss(size: int, off: bool) -> float:
        ours.off = dense.off = off
        batch = (images[..., :size, :size], torch.zeros(2, dtype=torch.int64))
        with distillation.watching(ours):
            outputs = ours(batch[0])
        return float(distillation.loss(outputs, batch).detach())

    assert loss(6, off=False) > 0
    assert loss(6, off=True) > 0
    assert 0 <= loss(1, off=False) < 2, "one place has no map"


def test_blocks_that_were_cut_out_are_not_compared() -> None:
    maps = torch.randn(2, 4, 3, 3)
    dense = {"one": maps, "block": maps, "two": maps}
    assert compared({"one": maps, "two": maps}, dense, ("one", "block")) == ["one"]
    assert compared({"one": maps}, dense, ()) == ["one"]


class _Scores:
    """Outputs without logits."""

    has_loss = True

    def __init__(self, task: Classification) -> None:
        self._task, self.name = task, "bare"

    def inputs(self, batch: Any) -> Any:
        return self._task.inputs(batch)


def test_what_cannot_be_compared_is_told_before_a_search(
    net: nn.Module, task: Classification
) -> None:
    inputs: list[Tensor] = [torch.randn(2, 1, 6, 6)]
    own = replace(RECOVERY, distill_features=1.0)
    check_teachable(net, task, inputs, own)
    check_teachable(net, _Scores(task), inputs, own)  # type: ignore[arg-type]
    check_teachable(net, task, inputs, replace(own, distill_modules=["inner"]))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'oter' is no module .* Did you mean 'outer'"):
        check_teachable(net, task, inputs, replace(own, distill_modules=("oter",)))
    with pytest.raises(ConfigError, match=r"'head' is no module of the model that returns one"):
        check_teachable(net, task, inputs, replace(own, distill_modules=("head",)))
    flat = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(ConfigError, match=r"distill_features compares .* no module of this model"):
        check_teachable(flat, task, [torch.randn(2, 4)], own)
    warmer = Recovery(distill_temperature=4.0)
    check_teachable(net, task, inputs, warmer)
    with pytest.raises(ConfigError, match=r"distill_temperature has no effect .*task 'bare'"):
        check_teachable(net, _Scores(task), inputs, warmer)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"recovery\.distill compares"):
        check_teachable(net, _Scores(task), inputs, replace(own, distill=1.0))  # type: ignore[arg-type]
