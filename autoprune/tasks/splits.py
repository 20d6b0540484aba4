"""The user's loaders: taken as they are, watched closely."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from torch.utils.data import RandomSampler, SequentialSampler

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
                f"times. Got {type(data[split]).__name__}."
            )
    return {split: data[split] for split in SPLITS}


def check_separate(task: Task) -> None:
    """Refuse splits that are known to hold the same samples; others are the user's duty.

    Raises:
        DataError: If two splits are one loader, or two loaders over all of one dataset.
    """
    for one, other in combinations(SPLITS, 2):
        if _same_samples(task.loader(one), task.loader(other)):
            raise DataError(
                f"The splits {one!r} and {other!r} hold the same samples, so what is measured "
                "would mean nothing. Give each its own part of the data."
            )


def _same_samples(one: Any, other: Any) -> bool:
    """Tell what can be told without looking: the same loader, or all of the same dataset."""
    if one is other:
        return True
    dataset = getattr(one, "dataset", None)
    whole = all(type(getattr(x, "sampler", None)) in _WHOLE for x in (one, other))
    return dataset is not None and dataset is getattr(other, "dataset", None) and whole


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


def _blame(err: Exception) -> str:
    """Return what `blame` says, or the worker's own error where a worker process raised it."""
    _, relayed, trace = str(err).partition("Original Traceback (most recent call last):")
    if not relayed:
        return blame(err)
    return f"{textwrap.shorten(trace.strip().splitlines()[-1], 400)} (in a worker process)."
