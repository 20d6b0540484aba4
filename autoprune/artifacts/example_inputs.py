"""What the inputs of a forward look like: shapes and types, never values."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field, field_validator

from autoprune.artifacts.record import Record
from autoprune.errors import ArtifactError
from autoprune.surgery.nested import Inputs, listed, map_tensors

_MOST_LISTED = 10**6
_LEAST_BATCH = 2  # tracing takes a dimension of size 1 for one that is always 1


class InputSpec(Record):
    """One tensor: its shape, batch first, and its type, such as ``float32``."""

    shape: tuple[Annotated[int, Field(ge=0)], ...]
    dtype: str

    @field_validator("dtype")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if not isinstance(getattr(torch, name, None), torch.dtype):
            raise ValueError(f"{name!r} is no type of PyTorch's tensors, such as 'float32'")
        return name


class ListSpec(InputSpec):
    """A list of ``listed`` samples, as detectors take it, each of the shape of the first."""

    listed: int = Field(ge=1, le=_MOST_LISTED)


Specs = tuple[ListSpec] | tuple[InputSpec, ...] | dict[str, InputSpec]


def specs_of(inputs: Inputs) -> Specs | None:
    """Describe arguments of a forward; None if one of them is anything but a batch."""
    samples = listed(inputs)
    if samples:
        return (ListSpec(**_spec(samples[0]).model_dump(), listed=len(samples)),)
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    if not all(isinstance(x, torch.Tensor) and x.dim() for x in values):
        return None
    if isinstance(inputs, Mapping):
        return {name: _spec(x) for name, x in inputs.items()}
    return tuple(_spec(x) for x in inputs)


def _spec(x: torch.Tensor) -> InputSpec:
    return InputSpec(shape=tuple(x.shape), dtype=str(x.dtype).removeprefix("torch."))


def empty_like(specs: Specs) -> Inputs:
    """Return tensors as they were described, of zeros.

    Raises:
        ArtifactError: If there is no room for them.
    """

    def zeros(spec: InputSpec) -> torch.Tensor:
        try:
            return torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype))
        except (RuntimeError, TypeError, OverflowError) as err:  # no memory; beyond 64 bits
            raise ArtifactError(
                f"Inputs of the shape {list(spec.shape)} cannot be made: they are too large. Was "
                "the file altered? Give the inputs' shapes, batch first: --input 2,3,224,224 "
                "(inputs=[torch.zeros(2, 3, 224, 224)] in Python)."
            ) from err

    if isinstance(specs, Mapping):
        return {name: zeros(spec) for name, spec in specs.items()}
    if specs and isinstance(specs[0], ListSpec):
        return ([zeros(specs[0])] * specs[0].listed,)
    return tuple(map(zeros, specs))


def random_like(inputs: Inputs) -> Inputs:
    """Return inputs of the same form with random values, always the same ones.

    Floating-point values lie between 0 and 1, others are 0 or 1. Single samples become two.
    """
    rng = torch.Generator().manual_seed(0)
    least = 0 if listed(inputs) else _LEAST_BATCH

    def draw(x: torch.Tensor) -> torch.Tensor:
        shape = (max(x.shape[0], least), *x.shape[1:]) if x.dim() else ()
        if x.is_floating_point():
            return torch.rand(shape, generator=rng, dtype=x.dtype)
        return torch.randint(2, shape, generator=rng).to(x.dtype)

    drawn: Inputs = map_tensors(draw, inputs)
    return drawn


def other_batches(inputs: Inputs) -> Sequence[Inputs]:
    """Return ``inputs``, a single sample of them, and a batch that is larger by one.

    Where a model takes a list of samples, it is those of the first one's size, one at a time.
    """
    samples = listed(inputs)
    if samples is not None:
        return [([x],) for x in samples if x.shape == samples[0].shape]

    def larger(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x[:1]])

    return [inputs, map_tensors(lambda x: x[:1], inputs), map_tensors(larger, inputs)]
