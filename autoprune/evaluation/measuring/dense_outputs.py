"""Outputs of a model that has not been touched: what fails there is its data, or itself."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from autoprune.core.user_code import blame
from autoprune.errors import AutopruneError, ModelError
from autoprune.surgery.nested import describe, forward, fresh
from autoprune.tasks import Split, Task


def outputs_of(task: Task, model: nn.Module, batch: Any, split: Split, which: str = "a") -> Any:
    """Return `Task.outputs`.

    Args:
        task: The task.
        model: The model, on the batch's device.
        batch: A batch.
        split: Where it is from, for errors.
        which: Which one of the split's it is.

    Raises:
        ModelError: If the forward raises.
    """
    try:
        return task.outputs(model, fresh(batch))
    except (AutopruneError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as err:  # the user's forward may raise anything
        raise _failed(task, batch, split, which, err) from err


def check_forward(task: Task, model: nn.Module, batch: Any, split: Split) -> None:
    """Run the plain forward of a first batch; see `outputs_of`."""
    try:
        forward(model, task.inputs(batch))
    except AutopruneError:
        raise
    except Exception as err:  # the user's forward may raise anything
        raise _failed(task, batch, split, "the first", err) from err


def _failed(task: Task, batch: Any, split: Split, which: str, err: Exception) -> ModelError:
    inputs = task.inputs(batch)
    names = f", by name ({', '.join(inputs)})" if isinstance(inputs, Mapping) else ""
    return ModelError(
        f"The model's forward failed on {which} {split} batch, inputs {describe(inputs)}{names}: "
        f"{blame(err)} Check that the data yields what it takes."
    )
