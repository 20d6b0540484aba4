"""What the splits lack: a search can neither win back nor watch what it has no sample of."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import eq

import torch
from scipy.stats import binom

from autoprune.evaluation.measuring.measure import Measurement
from autoprune.evaluation.randomness import isolated
from autoprune.tasks import HasClasses, HasLabels, Task
from autoprune.tasks.labelled import classes_named

_BY_CHANCE = 1e-3  # that shuffled samples look sorted
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
    judged = _Seen({*search.classes}, search.samples, list(search.labels))
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
            f"The train loader yields its samples sorted by class, as its first {train.samples:,} "
            "tell. What is trained so forgets the classes before: give it shuffle=True."
        )
    if search.is_sorted:
        yield (
            "The search split is sorted by class. Cuts are compared on a part of it first, which "
            "has a few classes only: shuffle it once, for instance as "
            "torch.utils.data.random_split(dataset, [1.0], torch.Generator().manual_seed(0))[0]."
        )


_UNSEEN = "What candidates lose there goes unseen: add such samples, if there are any."


@dataclass
class _Seen:
    """What was seen of a split.

    Args:
        classes: Classes of its samples.
        samples: Samples.
        labels: The class of each sample in turn, where each has one.
    """

    classes: set[int] = field(default_factory=set)
    samples: int = 0
    labels: list[int] = field(default_factory=list)

    @property
    def is_sorted(self) -> bool:
        """Whether neighbours are of one class far more often than if samples were shuffled."""
        pairs = len(self.labels) - 1
        if pairs < 1:
            return False
        alike = sum(map(eq, self.labels, self.labels[1:]))
        counts = Counter(self.labels).values()
        chance = sum(count * (count - 1) for count in counts) / (len(self.labels) * pairs)
        mostly = alike > (1 + chance) / 2 * pairs
        return mostly and float(binom.sf(alike - 1, pairs, chance)) < _BY_CHANCE


def _looked_through(task: Task, search: _Seen, seed: int) -> _Seen:
    """Return what training samples there are.

    They are as many as the search split has, and more where its classes were not all among them.
    """
    assert isinstance(task, HasClasses)
    seen = _Seen()
    with isolated(seed, task.loader("train")):
        for batch in task.batches("train"):
            seen.classes |= task.classes(batch)
            seen.samples += task.samples(batch)
            seen.labels += task.labels(batch) if isinstance(task, HasLabels) else []
            enough = seen.samples >= search.samples
            if enough and (
                search.classes <= seen.classes or seen.samples >= _MOST * search.samples
            ):
                break
    return seen


def _named(classes: set[int]) -> str:
    return classes_named(torch.tensor(sorted(classes)))
