"""What is asked of any pruned model, whoever pruned it."""

from collections.abc import Sequence

from torch import nn

from autoprune.errors import VerificationError
from autoprune.surgery.compare import outputs
from autoprune.surgery.tensors import state_tensors
from benchmarks.surgery.build import Inputs
from benchmarks.surgery.zoo import Model


def require(holds: bool, otherwise: str) -> None:
    """Raise a `VerificationError` that says ``otherwise`` unless the claim holds."""
    if not holds:
        raise VerificationError(otherwise)


def require_runs(dense: nn.Module, pruned: nn.Module, sets: Sequence[Inputs]) -> None:
    """Check that ``pruned`` is smaller, runs on every set of inputs, and gives finite numbers.

    Raises:
        VerificationError: If it does not.
    """
    require(size_of(pruned) < size_of(dense), "the pruned model is not smaller")
    for inputs in sets:
        found = outputs(pruned, inputs)
        require(bool(found), "the outputs hold no floating-point numbers")
        require(all(bool(x.isfinite().all()) for x in found), "outputs are not finite")


def require_shapes(
    model: Model, dense: nn.Module, pruned: nn.Module, sets: Sequence[Inputs]
) -> None:
    """Check that outputs have the shapes they had; detectors may find another number of boxes.

    Raises:
        VerificationError: If they have not.
    """
    for inputs in sets if model.source != "detection" else ():
        found, wanted = ([x.shape for x in outputs(m, inputs)] for m in (pruned, dense))
        require(
            found == wanted, f"outputs have other shapes: {_texts(found)}, not {_texts(wanted)}"
        )


def _texts(shapes: Sequence[Sequence[int]]) -> str:
    return " ".join("x".join(map(str, shape)) for shape in shapes)


def size_of(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, tied ones counted once."""
    return sum(x.numel() * x.element_size() for x in state_tensors(model).values())
