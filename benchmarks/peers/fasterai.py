"""FasterAI: ratios made of each layer's sensitivity, the scale of which is bisected to the limit.

https://fasterai-labs.github.io/fasterai. Its own target is the mean ratio over parameters. In
this release a layer is cut while those coupled to it are ignored, so that nothing is cut and
nothing drops; here each coupled group is cut as a whole and counts as one layer.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch_pruning as tp
from fasterai.analyze.sensitivity import SensitivityAnalyzer
from fasterai.core.all import large_final
from fasterai.prune.all import Pruner
from torch import nn

from benchmarks.peers.bisection import bisected
from benchmarks.peers.protocol import Given, Pruned

PERCENT = 100.0
LEVEL = 50  # percent that each layer is cut by alone, its default
MOST = 0.9  # its own, of any layer

Groups = Mapping[str, Sequence[str]]


def prune(given: Given) -> Pruned:
    """Cut each group alone, make ratios of the drops of the metric, cut by them."""
    groups = _groups(given)
    found = _Analyzer(given, groups).analyze("pruning", LEVEL, layers=[*groups], verbose=False)

    def make(target: float) -> nn.Module:
        model = copy.deepcopy(given.model)
        ratios = found.to_layer_targets(model, target_pct=PERCENT * target, max_pct=PERCENT * MOST)
        _cut(given, model, groups, ratios)
        return model

    target, model = bisected(make, given.share, given.macs, high=MOST)
    drops = {layer.name: layer.delta for layer in found.layers}
    return Pruned(model=model, facts={"target": target, "drops": drops})


class _Analyzer(SensitivityAnalyzer):  # type: ignore[misc]
    """Its analyzer, on groups."""

    def __init__(self, given: Given, groups: Groups) -> None:
        super().__init__(given.model, given.images, given.score)
        self._given, self._groups = given, groups

    def _apply_structural_pruning(self, target_name: str, level: float) -> nn.Module:
        model: nn.Module = self._clone_model()
        _cut(self._given, model, self._groups, {target_name: level})
        return model


def _cut(given: Given, model: nn.Module, groups: Groups, percent: Mapping[str, float]) -> None:
    """Cut groups, by the names of their first layers, in place."""
    pruner: Any = Pruner(
        model,
        pruning_ratio={one: p / PERCENT for name, p in percent.items() for one in groups[name]},
        context="local",
        criteria=large_final,
        ignored_layers=given.heads_of(model),
        example_inputs=given.images,
    )
    pruner.prune_model()


def _groups(given: Given) -> Groups:
    """Return the layers whose outputs are coupled, by the first of them."""
    graph = tp.DependencyGraph().build_dependency(given.model, given.images)
    names = {module: name for name, module in given.model.named_modules()}
    kinds = [nn.Conv2d, nn.Linear]
    found = {}
    for group in graph.get_all_groups(given.heads, root_module_types=kinds):
        made = (item.dep for item in group if graph.is_out_channel_pruning_fn(item.dep.handler))
        outputs = dict.fromkeys(one.target.module for one in made)
        layers = [names[one] for one in outputs if isinstance(one, tuple(kinds))]
        found[layers[0]] = layers
    return found
