"""FastNAS of NVIDIA's ModelOpt: a table of each layer's loss, bisected by the highest of them.

https://nvidia.github.io/Model-Optimizer. Its limit is on FLOPs, by its own count; batch norms
are calibrated on 50 batches before each score, which is its default.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import modelopt.torch.prune as mtp
import torch
from torch import Tensor, nn

from autoprune._resources import cache_dir
from autoprune.agent.housing.identity import model_fingerprint
from autoprune.core.fingerprint import fingerprint
from benchmarks.peers.counting import counting
from benchmarks.peers.protocol import Given, Pruned
from benchmarks.peers.tabs import Tab

VERSION = version("nvidia-modelopt")
DIVISOR = 4  # 32 would leave nothing to choose in layers of 16 to 64 channels


def prune(given: Given) -> Pruned:
    """Search with the metric on the search split as its score.

    Its table of one model and seed serves all limits, as its manual has it (``checkpoint``);
    every search is charged the whole of it.
    """
    table, scores = _table(given), 0
    with counting() as count:
        tab = Tab(table, count)

        def score(model: nn.Module) -> float:
            nonlocal scores
            tab.look()
            scores += 1
            return given.score(model)

        model, found = mtp.prune(
            given.model.to(memory_format=torch.contiguous_format),  # it refuses another
            mode=[("fastnas", _space())],
            constraints={"flops": f"{100 * given.macs:g}%"},
            dummy_input=given.images[:1],
            config={
                "score_func": score,
                "data_loader": given.task.loader("train"),
                "collect_func": lambda batch: _images(given, batch),
                "checkpoint": str(table),
                "verbose": False,
            },
        )
        if scores:  # what follows a table that was whole is no part of it
            tab.look()
    drops = found["sensitivity_map"]
    facts = {"layers": len(drops), "entries": sum(map(len, drops.values())), "scores": scores}
    return Pruned(model=model, aside=-tab.macs, aside_s=-tab.seconds, facts=facts)


def _table(given: Given) -> Path:
    """Return where the table of this model and seed is kept."""
    recipe = fingerprint([model_fingerprint(given.model), given.seed, DIVISOR, VERSION])[:12]
    return cache_dir() / "peers" / f"fastnas-{given.subject}-{given.seed}-{recipe}.pt"


def _space() -> Any:
    space = mtp.fastnas.FastNASConfig()
    for rules in space.values():
        for rule in (rules or {}).values():
            for key in ("channel_divisor", "feature_divisor"):
                if rule and key in rule:
                    rule[key] = DIVISOR
    return space


def _images(given: Given, batch: Any) -> Tensor:
    (images,) = given.task.inputs(batch)
    assert isinstance(images, Tensor)
    return images
