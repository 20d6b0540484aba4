"""What the splits lack: a search can neither win back nor watch what it has no sample of."""

from collections import Counter
from dataclasses import dataclass, field

import torch
from scipy.stats import binom

from autoprune.evaluation.measure import Measurement
from autoprune.evaluation.randomness import isolated
from autoprune.tasks import HasClasses, Task
from autoprune.tasks.labelled import classes_named

_BY_CHANCE = 1e-3  # that so many batches of shuffled samples hold one class
_MOST = 10  # times as many training samples as the search split has are looked through


def what_splits_lack(task: Task, search: Measurement, seed: int) -> list[str]:
    """Return warnings about classes that a split has no sample of, and a train split in order.

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
    seen = _looked_through(task, search, seed)
    train, samples = seen.classes, seen.samples
    if seen.is_sorted:
        absent.append(
            f"The train loader yields its samples sorted by class: {seen.pure} of its first "
            f"{seen.batches} batches hold one class only. What is trained so forgets the classes "
            "before: give it shuffle=True."
        )
    if train - search.classes and not absent:  # notes name these too
        absent.append(
            f"The search split has no sample of {_named(train - search.classes)}, and the train "
            f"split has. {_UNSEEN}"
        )
    if search.classes - train:
        absent.append(
            f"The train split has no sample of {_named(search.classes - train)} among the first "
            f"{samples:,}, and the search split has. A cut model cannot be trained on what is not "
            "there: add such samples, or shuffle them."
        )
    return absent


_UNSEEN = "What candidates lose there goes unseen: add such samples, if there are any."


@dataclass
class _Seen:
    """What was seen of the train split.

    Args:
        classes: Classes of its samples.
        samples: Samples.
        batches: Batches.
        pure: Batches of one class.
        alike: Samples in such batches, by class.
    """

    classes: set[int] = field(default_factory=set)
    samples: int = 0
    batches: int = 0
    pure: int = 0
    alike: Counter[int] = field(default_factory=Counter)

    def add(self, classes: set[int], samples: int) -> None:
        """Take in a batch."""
        self.classes |= classes
        self.samples += samples
        self.batches += 1
        if len(classes) == 1:
            self.pure += 1
            self.alike[next(iter(classes))] += samples

    @property
    def mostly_pure(self) -> bool:
        """Whether most batches are of one class, which may have other reasons."""
        return self.pure > self.batches / 2

    @property
    def is_sorted(self) -> bool:
        """Whether far more batches are of one class than would be if samples were shuffled."""
        if not self.mostly_pure:
            return False
        size, alike = self.samples / self.batches, self.alike.total()
        chance = sum((one / alike) ** size for one in self.alike.values())
        return float(binom.sf(self.pure - 1, self.batches, min(chance, 1.0))) < _BY_CHANCE


def _looked_through(task: Task, search: Measurement, seed: int) -> _Seen:
    """Return what training samples there are.

    They are as many as the search split has, and more where its classes were not all among them
    or most batches were of one class.
    """
    assert isinstance(task, HasClasses)
    seen = _Seen()
    with isolated(seed, task.loader("train")):
        for batch in task.batches("train"):
            seen.add(task.classes(batch), task.samples(batch))
            usual = search.classes <= seen.classes and not seen.mostly_pure
            if seen.samples >= search.samples * (1 if usual else _MOST):
                break
    return seen


def _named(classes: set[int] | frozenset[int]) -> str:
    return classes_named(torch.tensor(sorted(classes)))
