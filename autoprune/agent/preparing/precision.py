"""A search trains and compares in float32: rounding of half would look like a fault."""

from torch import Tensor, nn

from autoprune.errors import ModelError
from autoprune.surgery.nested import floats_in
from autoprune.tasks import Task

_SINGLE = 4  # bytes of a float32


def check_precision(model: nn.Module, task: Task) -> None:
    """Refuse a model that has weights in half precision.

    Args:
        model: The model.
        task: Its data, for the message.

    Raises:
        ModelError: If it has.
        DataError: If it has, and there are no data.
    """
    half = next((named for named in model.named_parameters() if _is_half(named[1])), None)
    if half is None:
        return
    name, weights = half
    inputs = task.inputs(next(iter(task.batches("train"))))
    given = ", ".join(sorted({_named(one) for one in floats_in(inputs)})) or "no floats"
    raise ModelError(
        f"The model's weights are {_named(weights)} ({name!r} for one), the inputs {given}. "
        "A search takes weights and images of float32, or rounding would decide between "
        "candidates. Build the model with .float() and let the data yield float32: recovery.amp "
        "trains in half where that is faster, and the smaller model can be made .half() again."
    )


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() < _SINGLE


def _named(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
