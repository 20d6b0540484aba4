"""What the splits lack: a search can neither win back nor watch what it has no sample of."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import comb, prod

import torch
from scipy.stats import binom

from autoprune.evaluation.measure import Measurement
from autoprune.evaluation.randomness import isolated
from autoprune.tasks import HasClasses, Task
from autoprune.tasks.labelled import classes_named

_BY_CHANCE = 1e-3  # that batches of shuffled samples look sorted
_MOST = 10  # times as many training samples as the search split has are looked through


def what_splits_lack(task: Task, search: Measurement, seed: int) -> list[str]:
    """Return warnings about classes that a split has no sample of, and splits sorted by them.

    Args:
        task: The task.
        search: What was measured on the search split.
        seed: Decides how loaders shuffle meanwhile.

    Raises:
        DataError: If the train loader fails.
    """
    absent = [f"The search split has {note}. {_UNSEEN}" for note in search.notes]
    if not isinstance(task, HasClasses):
        return absent
    judged = _Seen(list(search.classes), search.samples)
    seen = _looked_through(task, judged, seed)
    unseen, untrained = seen.classes - judged.classes, judged.classes - seen.classes
    if unseen and not absent:  # notes name these too
        absent.append(
            f"The search split has no sample of {_named(unseen)}, and the train split has. "
            f"{_UNSEEN}"
        )
    if untrained:
        absent.append(
            f"The train split has no sample of {_named(untrained)} among the first "
            f"{seen.samples:,}, and the search split has. A cut model cannot be trained on what "
            "is not there: add such samples, or shuffle them."
        )
    return absent + list(_sorted(seen, judged))


def _sorted(train: "_Seen", search: "_Seen") -> Iterator[str]:
    if train.is_sorted:
        yield (
            f"The train loader yields its samples sorted by class, as its first "
            f"{len(train.batches)} batches tell. What is trained so forgets the classes before: "
            "give it shuffle=True."
        )
    if search.is_sorted:
        yield (
            "The search split is sorted by class. Cuts are compared on a part of it first, which "
            "has a few classes only: shuffle it once, for instance as "
            "torch.utils.data.random_split(dataset, [1.0])[0]."
        )


_UNSEEN = "What candidates lose there goes unseen: add such samples, if there are any."


@dataclass
class _Seen:
    """What was seen of a split.

    Args:
        batches: The classes of each batch.
        samples: Samples in all of them.
    """

    batches: list[frozenset[int]] = field(default_factory=list)
    samples: int = 0

    @property
    def classes(self) -> frozenset[int]:
        """All classes."""
        return frozenset[int]().union(*self.batches)

    @property
    def mostly_pure(self) -> bool:
        """Whether most batches are of one class, which may have other reasons."""
        return len(self._alone) > len(self.batches) / 2

    @property
    def is_sorted(self) -> bool:
        """Whether batches are of fewer classes, or of those before, than if they were shuffled."""
        return self._pure_by_chance() < _BY_CHANCE or self._in_a_row_by_chance() < _BY_CHANCE

    @property
    def _alone(self) -> list[int]:
        return [next(iter(classes)) for classes in self.batches if len(classes) == 1]

    def _pure_by_chance(self) -> float:
        """Return how likely as many shuffled batches are of one class."""
        if not self.mostly_pure:
            return 1.0
        size, alone = self.samples / len(self.batches), Counter(self._alone)
        chance = sum((count / alone.total()) ** size for count in alone.values())
        return float(binom.sf(alone.total() - 1, len(self.batches), min(chance, 1.0)))

    def _in_a_row_by_chance(self) -> float:
        """Return how likely the batches that have a class follow each other for every class."""
        places = defaultdict[int, list[int]](list)
        for at, classes in enumerate(self.batches):
            for one in classes:
                places[one].append(at)
        if any(found[-1] - found[0] >= len(found) for found in places.values()):
            return 1.0
        total = len(self.batches)
        return prod((total - len(at) + 1) / comb(total, len(at)) for at in places.values())


def _looked_through(task: Task, search: _Seen, seed: int) -> _Seen:
    """Return what training samples there are.

    They are as many as the search split has, and more where its classes were not all among them
    or most batches were of one class.
    """
    assert isinstance(task, HasClasses)
    seen = _Seen()
    with isolated(seed, task.loader("train")):
        for batch in task.batches("train"):
            seen.batches.append(frozenset(task.classes(batch)))
            seen.samples += task.samples(batch)
            if seen.samples < search.samples:
                continue
            usual = search.classes <= seen.classes and not seen.mostly_pure
            if usual or seen.samples >= search.samples * _MOST:
                break
    return seen


def _named(classes: frozenset[int]) -> str:
    return classes_named(torch.tensor(sorted(classes)))
