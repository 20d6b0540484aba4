"""Batches that are drawn once and kept, so that every probe sees the same samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from autoprune.core.probing import Probing
from autoprune.evaluation.measuring.measure import to_device
from autoprune.evaluation.randomness import isolated
from autoprune.surgery.nested import Inputs
from autoprune.tasks import Split, Task
from autoprune.tasks.chunks import chunks

CHUNK = 32  # samples that one loss is taken on: the spread of those tells the noise


@dataclass(frozen=True)
class Batch:
    """A batch as it was drawn, what the model gets of it, and how many samples it has."""

    content: Any
    inputs: Inputs
    samples: int


def drawn(task: Task, probing: Probing, seed: int, device: str) -> tuple[list[Batch], list[Batch]]:
    """Return the training batches that norms take means over, and the search split in parts.

    Args:
        task: The data.
        probing: How many samples of each.
        seed: Decides what loaders shuffle.
        device: Where the batches go.

    Raises:
        DataError: If a loader fails.
    """
    size = max(1, min(CHUNK, probing.samples // 4))
    with isolated(seed, task.loader("train"), task.loader("search")):
        train = list(_enough(_batches(task, "train", device), probing.calibration))
        parts = (
            _batch(task, part)
            for batch in _batches(task, "search", device)
            for part in chunks(batch.content, batch.samples, size)
        )
        return train, list(_enough(parts, probing.samples))


def _batches(task: Task, split: Split, device: str) -> Iterator[Batch]:
    return (_batch(task, to_device(raw, device)) for raw in task.batches(split))


def _batch(task: Task, content: Any) -> Batch:
    return Batch(content, task.inputs(content), task.samples(content))


def _enough(batches: Iterable[Batch], samples: int) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        samples -= batch.samples
        if samples <= 0:
            return
