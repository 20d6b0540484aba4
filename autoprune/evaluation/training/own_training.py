"""Training by the user's own function, in one go."""

import math
from typing import Any

import torch
from torch import nn

from autoprune.core.mappings import differing
from autoprune.core.recover_function import RecoverFunction
from autoprune.errors import CandidateError, ConfigError
from autoprune.evaluation.randomness import Randomness, isolated
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task


class OwnTraining:
    """Has a function of the user train a model: once, for all epochs.

    Args:
        model: What is trained, in place; in eval mode before and after.
        recover: The function.
        steps: Training steps that are asked for; any above 0 call it.
        size: Batches and samples of one pass over the training split.
        device: Where the model is.
        randomness: What is drawn from.
    """

    learns = False  # as far as we know

    def __init__(
        self,
        model: nn.Module,
        recover: RecoverFunction,
        steps: int,
        size: tuple[int, int],
        device: str,
        randomness: Randomness,
    ) -> None:
        self.kept, self._recover, self._device = model, recover, device
        self._steps, self._randomness = steps, randomness
        batches, self._samples = size
        self.epochs = math.ceil(steps / max(batches, 1))
        self.done = self.samples = 0

    def advance(self, steps: int) -> int:
        """Train to the end, whatever ``steps`` is; return the samples that are booked for it.

        Raises:
            ConfigError: If the function raises, or the model is another one afterwards.
            CandidateError: If weights are NaN or infinite.
        """
        if steps <= self.done:
            return 0
        self.samples = self.epochs * self._samples
        shapes = _shapes(self.kept)
        trained = copied(self.kept).train()
        with self._randomness.running():
            returned = self._recover(trained, self.epochs)
        found = trained if returned is None else returned
        self._check(found, shapes)
        self.kept.load_state_dict(found.state_dict())
        self.done = self._steps
        return self.samples

    def _check(self, found: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        told = f"{self._recover.what}: {self._recover.name!r}"
        if not isinstance(found, nn.Module):
            raise ConfigError(
                f"{told} must train the model in place and return nothing, or return the model. "
                f"It returned {type(found).__name__}."
            )
        others = differing(_shapes(found), shapes)
        if others:
            raise ConfigError(
                f"{told} must leave the architecture as it is, and these tensors are gone, new or "
                f"of another shape afterwards: {', '.join(others[:5])}. Return the model it was "
                "given, without wrappers, trained."
            )
        for name, tensor in found.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise CandidateError(f"{told} left NaN or infinite numbers in {name!r}.")


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def size_of(task: Task) -> tuple[int, int]:
    """Return how many batches and samples one pass over the training split has, by a pass."""
    loader = task.loader("train")
    try:
        return len(loader), len(loader.sampler) if loader.batch_size else len(loader.dataset)
    except (AttributeError, TypeError):  # a list, a stream
        with isolated(0, loader):
            counts = [task.samples(batch) for batch in task.batches("train")]
        return len(counts), sum(counts)
