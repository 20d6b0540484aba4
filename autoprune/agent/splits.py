"""What the splits lack: a search can neither win back nor watch what it has no sample of."""

import torch

from autoprune.evaluation.measure import Measurement
from autoprune.evaluation.randomness import isolated
from autoprune.tasks import HasClasses, Task
from autoprune.tasks.labelled import classes_named

_MOST = 10  # times as many training samples as the search split has are looked through


def what_splits_lack(task: Task, search: Measurement, seed: int) -> list[str]:
    """Return warnings about classes that the search split or the train split has no sample of.

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
    train, samples = _looked_through(task, search, seed)
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


def _looked_through(task: Task, search: Measurement, seed: int) -> tuple[set[int], int]:
    """Return classes of training samples, and how many were looked at.

    They are as many as the search split has, and more where its classes were not all among them.
    """
    assert isinstance(task, HasClasses)
    found, samples = set[int](), 0
    with isolated(seed, task.loader("train")):
        for batch in task.batches("train"):
            found |= task.classes(batch)
            samples += task.samples(batch)
            enough = search.samples * (1 if search.classes <= found else _MOST)
            if samples >= enough:
                break
    return found, samples


def _named(classes: set[int] | frozenset[int]) -> str:
    return classes_named(torch.tensor(sorted(classes)))
