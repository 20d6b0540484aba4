"""What tasks over the user's loaders have in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from autoprune.core.function_identity import source_of
from autoprune.core.user_code import user_code
from autoprune.errors import ConfigError, DataError
from autoprune.surgery.nested import Inputs, call
from autoprune.tasks.base import Split
from autoprune.tasks.chunks import first_samples
from autoprune.tasks.splits import check_splits, iterate

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8)  # that may number classes


class LoadedTask:
    """Batches of loaders, ``(inputs, targets)`` or a mapping of which one key holds the targets.

    A subclass says what a batch looks like (`check_batch`), its loss and its metric; see `Task`.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders.

    Attributes:
        target_key: Key of the targets in batches that are mappings; the rest goes to the model
            by name.

    Raises:
        DataError: If a split is missing or cannot be iterated over again.
    """

    higher_is_better = True
    is_share = False
    has_loss = True
    forwards = 1
    one_forward = True
    protect: Sequence[str] = ()
    target_key = "labels"

    def __init__(self, data: Any) -> None:
        self._loaders = check_splits(data)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What changes loss or metric; see `Task`."""
        return {}

    @staticmethod
    def identities(**functions: Callable[..., Any] | None) -> dict[str, str]:
        """Return what tells functions of the user apart, by name, for `settings`."""
        return {name: source_of(one) for name, one in functions.items() if one is not None}

    def loader(self, split: Split) -> Any:
        """Return the user's loader; see `Task.loader`."""
        return self._loaders[split]

    def batches(self, split: Split) -> Iterator[Any]:
        """Yield checked batches; see `Task.batches`."""
        for batch in iterate(self._loaders[split], split):
            # Only PyTorch's own kinds of mappings and dicts are looked into for tensors.
            plain = dict(batch) if isinstance(batch, Mapping) else batch
            self.check_batch(plain, split)
            yield plain

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` if a batch does not have the form of the task's."""
        raise NotImplementedError

    def inputs(self, batch: Any) -> Inputs:
        """Return all but the targets; see `Task.inputs`."""
        if isinstance(batch, Mapping):
            return {key: value for key, value in batch.items() if key != self.target_key}
        return (batch[0],)

    def targets(self, batch: Any) -> Any:
        """Return the targets of a batch."""
        return batch[self.target_key] if isinstance(batch, Mapping) else batch[1]

    def samples(self, batch: Any) -> int:
        """Return the number of targets; see `Task.samples`."""
        return len(self.targets(batch))

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return what one forward gives; see `Task.outputs`."""
        return call(model, self.inputs(batch))

    def trace_inputs(self, samples: int) -> Inputs:
        """Return the arguments of a forward of few samples; see `Task.trace_inputs`."""
        batch = next(iter(self.batches("search")))
        count = self.samples(batch)
        if count < samples:
            raise DataError(
                f"The search loader's first batch must hold at least {samples} samples. "
                f"Got {count}. Use a larger batch size."
            )
        return self.inputs(first_samples(batch, count, samples))


def function_of_task(name: str) -> AbstractContextManager[None]:
    """Blame a function of the user's for what it raises, but not for memory that runs out."""
    memory = (MemoryError, torch.OutOfMemoryError)
    return user_code(f"The task's function {name!r} raised", ConfigError, through=memory)


def scalar_of(loss: Callable[[Any, Any], Any], outputs: Any, batch: Any) -> torch.Tensor:
    """Return what a loss function of the user gives.

    Raises:
        ConfigError: If it raises, or gives anything but a scalar tensor.
    """
    with function_of_task("loss"):
        found = loss(outputs, batch)
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        raise ConfigError(
            "The task's function 'loss' must return a tensor of one number, the mean over the "
            f"samples. Got {described(found)}."
        )
    return found.reshape(())


def described(batch: Any) -> str:
    """Return shapes and types of what a batch holds, for messages."""
    if isinstance(batch, torch.Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
    if isinstance(batch, (tuple, list)):
        return f"({', '.join(described(part) for part in batch)})"
    if isinstance(batch, Mapping):
        parts = (f"{key}: {described(part)}" for key, part in batch.items())
        return f"{{{', '.join(parts)}}}"
    return type(batch).__name__
