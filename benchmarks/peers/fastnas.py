"""FastNAS of NVIDIA's ModelOpt: a table of each layer's loss, bisected by the highest of them.

https://nvidia.github.io/Model-Optimizer. Its limit is on FLOPs, by its own count; batch norms
are calibrated on 50 batches before each score, which is its default.
"""

import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import modelopt.torch.prune as mtp
import torch
from torch import Tensor

from autoprune._resources import cache_dir
from autoprune.agent.identity import model_fingerprint
from autoprune.artifacts.files import write_text
from autoprune.core.fingerprint import fingerprint
from benchmarks.peers.counting import counting
from benchmarks.peers.protocol import Given, Pruned

VERSION = version("nvidia-modelopt")
DIVISOR = 4  # 32 would leave nothing to choose in layers of 16 to 64 channels


def prune(given: Given) -> Pruned:
    """Search with the metric on the search split as its score.

    Its table of one model and seed serves all limits, as its manual has it (``checkpoint``);
    every search is charged the whole of it.
    """
    table = _table(given)
    paid = _paid(table)
    start = time.monotonic()
    with counting() as count:
        model, found = mtp.prune(
            given.model.to(memory_format=torch.contiguous_format),  # it refuses another
            mode=[("fastnas", _space())],
            constraints={"flops": f"{100 * given.macs:g}%"},
            dummy_input=given.images[:1],
            config={
                "score_func": given.score,
                "data_loader": given.task.loader("train"),
                "collect_func": lambda batch: _images(given, batch),
                "checkpoint": str(table),
                "verbose": False,
            },
        )
    spent = {"macs": count.macs, "seconds": time.monotonic() - start}
    if paid is None:
        write_text(table.with_suffix(".json"), json.dumps(spent))
        paid = {"macs": 0.0, "seconds": 0.0}
    drops = found["sensitivity_map"]
    facts = {"layers": len(drops), "entries": sum(map(len, drops.values()))}
    return Pruned(model=model, aside=-paid["macs"], aside_s=-paid["seconds"], facts=facts)


def _table(given: Given) -> Path:
    """Return where the table of this model and seed is kept."""
    recipe = fingerprint([model_fingerprint(given.model), given.seed, DIVISOR, VERSION])[:12]
    return cache_dir() / "peers" / f"fastnas-{given.subject}-{given.seed}-{recipe}.pt"


def _paid(table: Path) -> dict[str, float] | None:
    """Return what a table cost that is whole; what is left of one that is not is removed."""
    try:
        found: dict[str, float] = json.loads(table.with_suffix(".json").read_text("utf-8"))
    except FileNotFoundError:
        table.unlink(missing_ok=True)
        return None
    return found


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
