"""Options of the commands that take a model apart: which model, which inputs."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.core.yaml_file import parse_yaml
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

_SHAPE = re.compile(r" *[1-9][0-9]{0,8}( *, *[1-9][0-9]{0,8})* *")

MODEL_HELP = "FILE.py:NAME or MODULE:NAME of what builds the model."
Args = Annotated[
    list[str] | None,
    typer.Option(
        "--args",
        metavar="KEY=VALUE",
        help="Argument of what builds the model; repeat it. Values are read as YAML.",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        metavar="N,C,H,W",
        help="Shape of an input, batch first; random values. Repeat it for more inputs.",
    ),
]
AsList = Annotated[
    bool,
    typer.Option(
        "--list", help="The model takes lists of samples, as detectors do; inputs are taken apart."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, nothing else.")]


def build(target: str, args: Sequence[str], what: str = "MODEL") -> "nn.Module":
    """Return the model that ``target`` builds, in eval mode; raises `InputError`."""
    from autoprune.artifacts.constructor import Constructor

    return Constructor(target=target, args=read_args(args), what=what).build().eval()


def read_args(given: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` texts; raises `ConfigError` for one that is not so."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier() or key in found:
            raise ConfigError(f"--args must be KEY=VALUE, each KEY once. Got {text!r}.")
        found[key] = parse_yaml(value, f"--args {key}: {value!r}")
    return found


def random_inputs(shapes: Sequence[str], as_list: bool) -> list[Any]:
    """Return tensors of the given shapes with values from 0 to 1, always the same ones.

    Raises:
        ConfigError: If a text is no shape.
    """
    import torch

    rng = torch.Generator().manual_seed(0)
    inputs: list[Any] = []
    for text in shapes:
        if _SHAPE.fullmatch(text) is None:
            raise ConfigError(
                f"--input must be a shape of whole numbers from 1, like 2,3,224,224. Got {text!r}."
            )
        made = _random([int(size) for size in text.split(",")], text, rng)
        inputs.append(list(made) if as_list else made)
    return inputs


def _random(shape: list[int], given: str, rng: Any) -> Any:
    import torch

    try:
        return torch.rand(shape, generator=rng)
    except RuntimeError as err:  # of the allocator
        raise ConfigError(
            f"--input {given} is too large for the memory here. Give a smaller shape."
        ) from err
