"""One rival on one model under one limit: pruned, trained as all are, measured once."""

import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from autoprune.cost.count import count_costs
from autoprune.cost.latency.runtimes import find_runtime
from autoprune.cost.latency.timing import compare
from autoprune.evaluation.distillation.distill import share_of
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.scoring.candidate import TRAINING_FORWARDS
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.surgery.tensors import copied
from benchmarks.isolated import Note, first_line
from benchmarks.peers.apart import pruned_apart
from benchmarks.peers.protocol import BATCH, TARGET, Given
from benchmarks.peers.rivals import EVERYBODY, OURS, prune
from benchmarks.peers.subjects import SUBJECTS

PAIRS_S = 20.0  # seconds for which a model is compared with the dense one


def dense(note: Note, subject: str) -> None:
    """Train a dense model, if that was not done before, and tell its quality on test images."""
    note(stage="train")
    one = SUBJECTS[subject]
    model, task = one.model(), one.task()
    note(stage="measure")
    macs = count_costs(model, task.trace_inputs(BATCH), BATCH).macs
    found = measure(model, task, "test", "cpu")
    note(quality=found.quality, loss=found.loss, macs=macs, metric=task.metric_name)


def contest(
    note: Note,
    subject: str,
    rival: str,
    macs: float,
    latency: float | None,
    seed: int,
    evaluations: int,
    steps: int,
) -> None:
    """Prune a model, train what is left, and measure it on the test split.

    Args:
        note: Told the facts: ``share`` of the dense model's multiply-adds, ``met`` (None where
            the machine was too busy to tell), ``quality`` on the test split, ``cut`` before the
            training, what the search cost in sample forwards of the dense model and in seconds,
            and what the rival tells; of ours ``distilled`` too, where it learns from the dense
            model.
        subject: Name of the model.
        rival: Who prunes, one of `EVERYBODY`.
        macs: Limit on multiply-adds, as a share.
        latency: Limit on latency as a share, with which what is met is measured; or None.
        seed: Of search and training.
        evaluations: Policies that searches score.
        steps: Training steps afterwards.
    """
    note(stage="prune")
    known: dict[str, Any] = {
        "subject": subject,
        "macs": macs,
        "latency": latency,
        "seed": seed,
        "evaluations": evaluations,
    }
    given = Given.of(**known)
    assert given.dense_macs
    tool = EVERYBODY[rival].tool
    found = prune(rival, given) if tool is None else pruned_apart(tool, rival, known)
    share = given.share(found.model)
    note(**found.facts, share=share)
    model = _alike(found.model, given)
    recovery = SUBJECTS[subject].recovery
    taught = share_of(recovery, given.task, own_training=False) if rival == OURS else 0.0
    again = copied(model) if taught else model
    note(stage="train", cut=measure(model, given.task, "test", "cpu").quality)
    note(**trained(model, given, steps))
    if latency is None:
        note(met=share <= macs)
    else:
        note(stage="time")
        note(**timed(model, SUBJECTS[subject].model(), given, latency))
    if taught:  # as `autoprune.search` trains its finalists
        note(stage="distil")
        note(distilled=_distilled(again, given, steps, taught))


def _distilled(model: nn.Module, given: Given, steps: int, share: float) -> dict[str, Any]:
    """Return what `trained` says where the dense model teaches; its failure is its row's alone."""
    try:
        return trained(model, given, steps, share)
    except Exception as err:
        return {"failure": first_line(err)}


def _alike(model: nn.Module, given: Given) -> nn.Module:
    """Return the model with new statistics of batch norms, laid out as is fast on CPUs."""
    model.requires_grad_(True)
    recovery, task = SUBJECTS[given.subject].recovery, given.task
    with isolated(given.seed, task.loader("train")):
        recalibrate(model, task, recovery.calibration_batches, "cpu")
    return model.to(memory_format=torch.channels_last)


def trained(model: nn.Module, given: Given, steps: int, distill: float = 0.0) -> dict[str, float]:
    """Train a pruned model in place; return what it is worth on the test split.

    The batches and their order depend on the seed alone. ``distill`` is the share of the dense
    model's outputs in what it learns.
    """
    subject, task = SUBJECTS[given.subject], given.task
    recovery = replace(subject.recovery, distill=distill)
    teacher = subject.model() if distill else None
    start = time.monotonic()
    with isolated(given.seed, task.loader("train")):
        samples = fine_tune(model, task, steps, recovery, "cpu", teacher=teacher)
    seconds = time.monotonic() - start
    found = measure(model, task, "test", "cpu")
    return {
        "quality": found.quality,
        "loss": found.loss,
        "training_forwards": samples * (TRAINING_FORWARDS * given.share(model) + (distill > 0)),
        "training_s": seconds,
    }


def timed(model: nn.Module, dense: nn.Module, given: Given, share: float) -> dict[str, Any]:
    """Compare the latency of a model with the dense one's, in pairs."""
    runtime, inputs = find_runtime(TARGET), given.task.trace_inputs(TARGET.batch)
    with (
        runtime.open(dense, inputs, TARGET) as before,
        runtime.open(model, inputs, TARGET) as after,
    ):
        found = compare(before, after, limit_s=PAIRS_S)
    return {
        "latency_share": found.ratio,
        "latency_low": found.low,
        "latency_high": found.high,
        "dense_ms": 1000 * found.dense.seconds,
        "busy": found.busy,
        "met": None if found.busy else found.ratio <= share,
    }
