"""Policies with single weights: beside cuts, per tensor and over all of them."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.core.policy import Choice, Policy
from autoprune.evaluation.pruning.importance import Importance
from autoprune.evaluation.pruning.sparsify import sparsify
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.sparse import kept_at_zero

IMAGES = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def magnitudes(model: nn.Module, plan: Plan) -> Importance:
    weights = dict(model.named_parameters())
    names = plan.weights["weights"].members
    return Importance({}, {"weights.l1": {n: weights[n].detach().abs() for n in names}}, 0)


def made(model: nn.Module, choices: dict[str, Any], gone: dict[str, Any]) -> nn.Module:
    plan = discover(model, [IMAGES], np.random.default_rng(0))
    atoms = {name: np.array(given) for name, given in gone.items()}
    pruned = apply(model, plan, atoms)
    policy = Policy({unit: Choice(*choice) for unit, choice in choices.items()})
    sparsify(pruned, plan, policy, magnitudes(model, plan), plan.cut(atoms))
    return pruned


def sparsity(model: nn.Module, *names: str) -> float:
    zeros = torch.cat([(model.get_parameter(n) == 0).flatten() for n in names])
    return float(zeros.double().mean())


ALL = ("a.weight", "b.weight", "head.weight")


def test_one_tensor_loses_its_share_of_what_the_cut_left(model: Net) -> None:
    pruned = made(model, {"a.weight": ("unstructured.l1", 0.5)}, {"a": [0, 1]})
    assert pruned.get_parameter("a.weight").shape == (6, 4, 3, 3)
    assert sparsity(pruned, "a.weight") == 0.5
    assert sparsity(pruned, "b.weight", "head.weight") == 0
    left, whole = pruned.get_parameter("a.weight"), model.a.weight[2:]
    assert torch.equal(left[left != 0], whole[left != 0])
    assert whole[left == 0].abs().max() <= whole[left != 0].abs().min()
    assert kept_at_zero(pruned) == ["a.weight"]


def test_all_tensors_together_share_one_threshold(model: Net) -> None:
    model.b.weight.data *= 100
    pruned = made(model, {"weights": ("unstructured.l1", 0.25)}, {})
    assert sparsity(pruned, *ALL) == pytest.approx(0.25, abs=0.002)
    assert sparsity(pruned, "b.weight") == 0


def test_two_of_four_stay_along_the_inputs(model: Net) -> None:
    pruned = made(model, {"a.weight": ("2:4.l1", 0.5), "b.weight": ("1:4.l1", 0.75)}, {})
    assert ((pruned.get_parameter("a.weight") != 0).sum(1) == 2).all()
    assert ((pruned.get_parameter("b.weight") != 0).unflatten(1, (-1, 4)).sum(2) == 1).all()


def test_choices_for_one_tensor_add_up(model: Net) -> None:
    both = {"weights": ("unstructured.l1", 0.25), "head.weight": ("unstructured.l1", 0.75)}
    pruned = made(model, both, {})
    assert sparsity(pruned, "head.weight") >= 0.75
    assert sparsity(pruned, "a.weight") > 0


def test_without_such_a_choice_nothing_happens(model: Net) -> None:
    pruned = made(model, {"a": ("channel.l1", 0.5)}, {"a": [0]})
    assert kept_at_zero(pruned) == []
    assert sparsity(pruned, *ALL) == 0
