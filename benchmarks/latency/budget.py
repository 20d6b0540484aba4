"""Searches with a limit on latency, and with one on MACs alone."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import autoprune
from autoprune.core.target import Target
from autoprune.cost.latency.runtimes import find_runtime
from autoprune.cost.latency.timing import compare
from benchmarks.isolated import Note
from benchmarks.latency.models import build, images, task


def search(
    note: Note,
    model: str,
    size: int,
    target: str,
    budget: str,
    share: float,
    seed: int,
    trials: int,
) -> None:
    """Search with few trials and no training, and measure the returned model anew.

    Args:
        note: Told the facts: ``ratio`` of the latency with its interval, ``met``.
        model: Its name.
        size: Height and width of images, in pixels.
        target: What latency is measured with.
        budget: The limit.
        share: Share of the dense latency that counts as met.
        seed: Seed of the search.
        trials: Policies scored.
    """
    note(stage="search")
    network = build(model)
    with TemporaryDirectory() as folder:
        found = autoprune.search(
            network,
            task=task(size),
            budget=budget,
            space="default",
            trials=trials,
            seed=seed,
            out=Path(folder) / "run",
            recovery=autoprune.Recovery(score_steps=0, recover_steps=0, finalists=1),
            onnx=False,
            database=os.path.join(folder, "latency.db"),
            progress=lambda event: note(stage=event.stage, note=event.note),
        )
    note(stage="measure", macs=found.result.pruned.macs / found.result.dense.macs)
    parsed = Target.parse(target)
    runtime, inputs = find_runtime(parsed), images(size, parsed.batch)
    with (
        runtime.open(network, inputs, parsed) as dense,
        runtime.open(found.model, inputs, parsed) as pruned,
    ):
        again = compare(dense, pruned, limit_s=20.0)
    note(ratio=again.ratio, low=again.low, high=again.high, busy=again.busy)
    note(met=again.ratio <= share, dense_ms=1000 * again.dense_s, pruned_ms=1000 * again.pruned_s)
