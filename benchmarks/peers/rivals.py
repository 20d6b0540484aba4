"""Everybody who takes part, by name."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module

import torch

from autoprune.evaluation.randomness import isolated
from benchmarks.peers.counting import counting
from benchmarks.peers.protocol import Given, Prune, Pruned


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Who prunes.

    Args:
        label: Name in tables.
        adapter: ``module:function`` below `benchmarks.peers`.
        tool: Whose environment it runs in, one of `PACKAGES`; None for our own.
    """

    label: str
    adapter: str
    tool: str | None = None

    def load(self) -> Prune:
        """Import the adapter; a rival's own needs the environment of its tool."""
        module, _, function = self.adapter.partition(":")
        found: Prune = getattr(import_module(f"benchmarks.peers.{module}"), function)
        return found


def _torch_pruning(label: str, function: str) -> Rival:
    label = f"Torch-Pruning, {label}"
    return Rival(label=label, adapter=f"torch_pruning:{function}", tool="torch_pruning")


OURS = "ours"
RIVALS: Mapping[str, Rival] = {
    OURS: Rival(label="autoprune", adapter="searches:ours"),
    "fastnas": Rival(label="ModelOpt FastNAS", adapter="fastnas:prune", tool="fastnas"),
    "tp_global_taylor": _torch_pruning("global Taylor", "global_taylor"),
    "tp_isomorphic_taylor": _torch_pruning("isomorphic Taylor", "isomorphic_taylor"),
    "tp_global_l1": _torch_pruning("global L1", "global_l1"),
    "tp_uniform_l1": _torch_pruning("uniform L1", "uniform_l1"),
    "fasterai": Rival(label="FasterAI", adapter="fasterai:prune", tool="fasterai"),
    "tpe": Rival(label="Optuna TPE", adapter="searches:tpe"),
    "cmaes": Rival(label="Optuna CMA-ES", adapter="searches:cmaes"),
    "random": Rival(label="best of random", adapter="searches:drawn"),
    "uniform": Rival(label="one sparsity for all", adapter="searches:uniform"),
}

_ABLATED = {
    "one_sparsity": "one sparsity for all units",
    "one_method": "one method for all units",
    "no_predictor": "no predictor",
    "no_rollback": "no rollback",
    "no_divergence": "scored by the loss",
    "no_reconstruction": "no reconstruction",
}
PARTS: Mapping[str, Rival] = {
    name: Rival(label=f"autoprune, {label}", adapter=f"searches:{name}")
    for name, label in _ABLATED.items()
}
OWN = (OURS, *PARTS)
TAUGHT = "distilled"  # no run of its own: what ours found, trained as its finalists are
EVERYBODY = {
    **RIVALS,
    TAUGHT: Rival(label="autoprune, distilled", adapter=RIVALS[OURS].adapter),
    **PARTS,
}


def prune(rival: str, given: Given) -> Pruned:
    """Have a rival prune; what the search cost is among the facts."""
    assert given.dense_macs  # counted before anything is changed
    once, adapter = given.one_forward, EVERYBODY[rival].load()
    start = time.monotonic()
    with isolated(given.seed, given.task.loader("train")), counting() as count:
        found = adapter(given)
    counted = (count.macs - found.aside) / once
    forwards = max(counted, found.facts.get("own_forwards", 0.0))  # layers that are fitted, too
    seconds = time.monotonic() - start - found.aside_s
    found.model.zero_grad(set_to_none=True)
    with torch.no_grad():
        found.model.eval()(given.images)  # whatever is returned must run
    return replace(found, facts=dict(found.facts) | {"forwards": forwards, "search_s": seconds})
