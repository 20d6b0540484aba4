"""What tasks with a row of logits for each image have in common."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from autoprune.errors import DataError
from autoprune.surgery.modes import seeded
from autoprune.tasks.base import Split
from autoprune.tasks.loaded import LoadedTask, described
from autoprune.tasks.logits import logits_of, run_for_logits

_NAMED = 6  # classes at most, in a message


class Labelled(LoadedTask):
    """Images with labels, and a model that gives logits ``[samples, classes]``.

    A subclass says what labels look like (`fits`), its loss and its metric; see `Task`.

    Attributes:
        noun: What the targets are called.
        form: What they look like, for messages.
    """

    noun: str
    form: str

    def fits(self, targets: torch.Tensor) -> bool:
        """Tell whether targets have the form of the task's."""
        raise NotImplementedError

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and their labels."""
        parts = self._parts(batch)
        if parts is not None:
            images, targets = parts
            if self.fits(targets) and any(
                _are_images(one) and len(one) == len(targets) > 0 for one in images
            ):
                return
        raise DataError(
            f"The {split} loader must yield (images, {self.noun}): float images [samples, ...] "
            f"and {self.form}; or a mapping of the model's arguments with the {self.noun} beside "
            f"them as {self.target_key!r}. Got {described(batch)}.{self._remedy(batch)}"
        )

    def _remedy(self, batch: Any) -> str:
        if isinstance(batch, Mapping) and self.target_key not in batch:
            return " Give the loader a collate_fn that returns (images, targets)."
        images, targets = self._parts(batch) or ([], None)
        if any(isinstance(one, torch.Tensor) and one.dtype == torch.uint8 for one in images):
            return " Make floats of them: torchvision's v2.ToDtype(torch.float32, scale=True)."
        if targets is None or not targets.is_floating_point() or self.fits(targets):
            return ""
        if self.fits(targets.long()):
            return f" The {self.noun} are floats: make integers of them with .long()."
        return ""

    def _parts(self, batch: Any) -> tuple[list[Any], torch.Tensor] | None:
        """Return what may be images, and the labels, if the batch has a form we know."""
        if isinstance(batch, Mapping):
            images = [value for key, value in batch.items() if key != self.target_key]
            targets = batch.get(self.target_key)
        elif isinstance(batch, (tuple, list)) and len(batch) == 2:
            images, targets = [batch[0]], batch[1]
        else:
            return None
        return (images, targets) if isinstance(targets, torch.Tensor) else None

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return the logits, and in training those of auxiliary heads too; see `Task.outputs`."""
        return run_for_logits(model, self.inputs(batch))

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` unless there is a row of logits for each image."""
        logits = logits_of(outputs)
        if logits is None or logits.ndim != 2:
            got = described(outputs) if logits is None else tuple(logits.shape)
            raise DataError(
                "A classifier must return a tensor [samples, classes], or something that has one "
                f"as 'logits'. Got {got}."
            )
        count = self.samples(batch)
        if len(logits) != count:
            raise DataError(
                f"The model gave {len(logits)} outputs for {count} targets. "
                "Each sample needs one of both."
            )


def _are_images(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim >= 2


def classes_named(classes: torch.Tensor) -> str:
    """Return the numbers of some classes in words, all or the first few.

    Args:
        classes: Their numbers, one at least.
    """
    numbers = [str(number) for number in classes.tolist()]
    if len(numbers) == 1:
        return f"class {numbers[0]}"
    if len(numbers) > _NAMED:
        return f"{len(numbers)} classes ({', '.join(numbers[:_NAMED])}, ...)"
    return f"classes {', '.join(numbers[:-1])} and {numbers[-1]}"


def of_train(task: LoadedTask, see: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
    """Return what ``see`` makes of the targets of each batch of one pass of the train split.

    What a loader draws from PyTorch's generators is the same each time, and leaves no trace.

    Raises:
        DataError: If the loader fails, or a batch does not have the form of the task's.
    """
    with seeded():
        return [see(task.targets(batch).cpu()) for batch in task.batches("train")]
