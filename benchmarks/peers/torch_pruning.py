"""Torch-Pruning: one ranking of channels, whose ratio is bisected to the limit.

https://github.com/VainF/Torch-Pruning. It has no target and no search.
"""

import copy
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from benchmarks.peers.bisection import bisected
from benchmarks.peers.protocol import Given, Pruned

BATCHES = 50  # training batches whose gradients rank channels, as in its examples
MOST = 0.98  # a ratio of 1 leaves no layer


def uniform_l1(given: Given) -> Pruned:
    """Cut the same share of every layer, smallest L1 norm of a group first."""
    return _cut(given, tp.importance.GroupMagnitudeImportance(p=1))


def global_l1(given: Given) -> Pruned:
    """Rank the channels of all layers together by their groups' L1 norms."""
    importance = tp.importance.GroupMagnitudeImportance(p=1)
    return _cut(given, importance, global_pruning=True)


def global_taylor(given: Given) -> Pruned:
    """Rank the channels of all layers together by first order Taylor expansion."""
    _gather(given)
    return _cut(given, tp.importance.GroupTaylorImportance(), global_pruning=True)


def isomorphic_taylor(given: Given) -> Pruned:
    """Rank only channels of alike groups together, which its manual recommends.

    Fang et al. 2024, arXiv:2407.04616.
    """
    _gather(given)
    importance = tp.importance.GroupTaylorImportance()
    return _cut(given, importance, global_pruning=True, isomorphic=True)


def _gather(given: Given) -> None:
    """Add up the gradients of training batches."""
    given.model.eval().zero_grad()
    for _, batch in zip(range(BATCHES), given.task.batches("train"), strict=False):
        given.task.loss(given.task.outputs(given.model, batch), batch).backward()


def _cut(given: Given, importance: Any, **settings: Any) -> Pruned:
    def make(ratio: float) -> nn.Module:
        model = _copied(given.model)
        pruner = tp.pruner.BasePruner(
            model,
            given.images,
            importance=importance,
            pruning_ratio=ratio,
            ignored_layers=given.heads_of(model),
            **settings,
        )
        pruner.step()
        return model

    with torch.enable_grad():
        ratio, model = bisected(make, given.share, given.macs, high=MOST)
    return Pruned(model=model, facts={"ratio": ratio})


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy that has the gradients too."""
    copied = copy.deepcopy(model)
    for own, theirs in zip(copied.parameters(), model.parameters(), strict=True):
        own.grad = None if theirs.grad is None else theirs.grad.clone()
    return copied
