"""The user's loaders: taken as they are, watched closely."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from itertools import combinations
from os.path import abspath
from typing import Any

from torch.utils.data import (
    BatchSampler,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from autoprune._hints import did_you_mean
from autoprune.core.user_code import blame
from autoprune.errors import DataError
from autoprune.tasks.base import SPLITS, Split, Task

_WHOLE = (RandomSampler, SequentialSampler)


def check_splits(data: Any) -> dict[Split, Iterable[Any]]:
    """Return the loaders by split.

    Raises:
        DataError: If ``data`` is no mapping of the three splits to things to iterate over
            again and again.
    """
    if not isinstance(data, Mapping):
        raise DataError(
            f"The data must be a mapping with the keys {', '.join(SPLITS)}, each a loader that "
            f"yields batches. Got {type(data).__name__}."
        )
    for split in SPLITS:
        if split not in data:
            raise DataError(
                f"The data lacks the split {split!r}.{did_you_mean(split, map(str, data))} "
                "Return a mapping with train, search and test."
            )
        if not isinstance(data[split], Iterable) or isinstance(data[split], Iterator):
            raise DataError(
                f"The {split} split must be a loader or list that can be iterated over many "
                f"times. Got {type(data[split]).__name__}.{_unwrapped(data[split])}"
            )
    return {split: data[split] for split in SPLITS}


def _unwrapped(given: Any) -> str:
    one_by_one = isinstance(given, Dataset) and not isinstance(given, Iterable)
    return " Wrap the dataset: torch.utils.data.DataLoader(dataset, 32)." if one_by_one else ""


def check_separate(task: Task) -> None:
    """Refuse splits that are known to share samples; others are the user's duty.

    Known are samples of one dataset by their number, subsets of it included, and files of
    torchvision's ``ImageFolder`` by their paths.

    Raises:
        DataError: If two splits are one loader, or hold a sample that is known to be the same.
    """
    samples = {split: _samples(task.loader(split)) for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        shared = samples[one] & samples[other]
        if task.loader(one) is not task.loader(other) and not shared:
            continue
        paths = sorted(name for name in shared if isinstance(name, str))
        told = {0: "the same samples", 1: "a sample"}.get(len(shared), f"{len(shared):,} samples")
        example = f", for instance {paths[0]}" if paths else ""
        raise DataError(
            f"The splits {one!r} and {other!r} share {told}{example}, so what is measured would "
            "mean nothing. Give each its own part of the data."
        )


def _samples(loader: Any) -> set[Any]:
    """Return what tells the samples of a loader apart, without reading one; empty if unknown."""
    dataset, batches = getattr(loader, "dataset", None), getattr(loader, "batch_sampler", None)
    if batches is not None and type(batches) is not BatchSampler:
        return set()
    sampler = getattr(loader if batches is None else batches, "sampler", None)
    if type(sampler) is SubsetRandomSampler:
        return _names(dataset, [int(at) for at in sampler.indices])
    if type(sampler) not in _WHOLE or not isinstance(dataset, Sized):
        return set()
    return _names(dataset, range(len(dataset)))


def _names(dataset: Any, numbers: Sequence[int]) -> set[Any]:
    if isinstance(dataset, Subset):
        return _names(dataset.dataset, [int(dataset.indices[at]) for at in numbers])
    # Whoever has an ImageFolder has imported torchvision, which is an extra.
    folders = getattr(sys.modules.get("torchvision.datasets"), "DatasetFolder", ())
    if isinstance(dataset, folders) and len(dataset) == len(dataset.samples):
        return {abspath(dataset.samples[at][0]) for at in numbers}
    return {(id(dataset), at) for at in numbers}


def iterate(loader: Iterable[Any], split: Split) -> Iterator[Any]:
    """Yield the batches of one pass; whatever the loader raises becomes a `DataError`."""
    empty = True
    try:
        for batch in loader:
            empty = False
            yield batch
    except (DataError, GeneratorExit):
        raise
    except Exception as err:  # the user's loader may raise anything
        raise DataError(
            f"The {split} loader raised {_blame(err)} Iterate over it once by hand to see where."
        ) from err
    if empty:
        raise DataError(f"The {split} split is empty. Give it at least one batch.")


@contextmanager
def in_split(split: Split) -> Iterator[None]:
    """Let a `DataError` of what sees one batch, and not where it is from, name the split."""
    try:
        yield
    except DataError as err:
        raise DataError(f"In the {split} split: {err}") from err


def _blame(err: Exception) -> str:
    """Return what `blame` says, or the worker's own error where a worker process raised it."""
    _, relayed, trace = str(err).partition("Original Traceback (most recent call last):")
    if not relayed:
        return blame(err)
    return f"{textwrap.shorten(trace.strip().splitlines()[-1], 400)} (in a worker process)."
