"""``plan.json``: how the pruned architecture follows from the dense one, and its loader."""

from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from pydantic import Field
from torch import nn

from autoprune.artifacts.constructor import Constructor
from autoprune.artifacts.example_inputs import Specs
from autoprune.artifacts.files import PLAN, WEIGHTS, write_text
from autoprune.artifacts.record import Record
from autoprune.artifacts.weights import load_weights
from autoprune.core.json_text import read_json
from autoprune.core.mappings import differing
from autoprune.errors import ArtifactError
from autoprune.surgery.apply import without
from autoprune.surgery.sparse import keep_zeros
from autoprune.surgery.tensors import shapes_of
from autoprune.surgery.units import Cut


class Architecture(Record):
    """The content of ``plan.json``, schema version 1.

    Args:
        schema_: Version of this form.
        constructor: What builds the dense architecture, if it is known.
        dense_shapes: Shape of every tensor of the dense model.
        removed: Positions that are gone, by tensor, by dimension.
        passed: Modules that were replaced by a pass-through.
        sparse: Parameters whose zeros are kept at zero.
        weights_sha256: Sum of the weights file beside it.
        inputs: Shapes and types of what the forward was traced with, if they are plain tensors.
    """

    schema_: int = Field(1, alias="schema", ge=1, le=1)
    constructor: dict[str, Any] | None
    dense_shapes: dict[str, tuple[int, ...]]
    removed: dict[str, dict[int, list[int]]]
    passed: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()
    weights_sha256: str
    inputs: Specs | None = None

    @classmethod
    def of(
        cls,
        dense: nn.Module,
        cut: Cut,
        constructor: dict[str, Any] | None,
        weights_sha256: str,
        sparse: Iterable[str] = (),
        inputs: Specs | None = None,
    ) -> "Architecture":
        """Describe the model that lacks ``cut`` of ``dense``, and zeros of ``sparse``."""
        return cls(
            schema=1,
            constructor=constructor,
            dense_shapes=shapes_of(dense),
            removed={
                tensor: {dim: gone.tolist() for dim, gone in dims.items()}
                for tensor, dims in cut.positions.items()
            },
            passed=cut.modules,
            sparse=tuple(sparse),
            weights_sha256=weights_sha256,
            inputs=inputs,
        )

    def write(self, folder: Path) -> None:
        """Write ``plan.json`` into ``folder``."""
        write_text(folder / PLAN, self.model_dump_json(by_alias=True) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Architecture":
        """Read ``plan.json`` of ``folder``; raises `ArtifactError` if it is missing or odd."""
        path = folder / PLAN
        try:
            return cls.model_validate(read_json(path))
        except OSError as err:
            raise ArtifactError(
                f"{folder} holds no result: {PLAN} cannot be read ({err.strerror}). "
                "Give the folder that a finished search wrote; of a front, that of one of its "
                "points."
            ) from err
        except ValueError as err:
            raise ArtifactError(
                f"{path} is not what this version of autoprune writes: {shorten(str(err), 400)}. "
                "Restore the file, or load it with the version that wrote it."
            ) from err

    def cut(self, dense: nn.Module) -> nn.Module:
        """Return the pruned copy of a dense model, weights not loaded yet.

        Raises:
            ArtifactError: If the dense model has other tensors or shapes, or lacks something that
                the plan names.
        """
        odd = differing(shapes_of(dense), self.dense_shapes)
        if odd:
            raise ArtifactError(
                f"The constructor builds another model than the one that was pruned: {odd[:3]} "
                "differ. Call it with the same arguments."
            )
        self._check_positions()
        self._check_named("passes over the module", self.passed, _modules(dense))
        gone = {
            tensor: {dim: np.asarray(positions, np.int64) for dim, positions in dims.items()}
            for tensor, dims in self.removed.items()
        }
        pruned = without(dense, Cut(gone, self.passed))
        self._check_named("keeps zeros of", self.sparse, _parameters(pruned))
        return pruned

    def _check_named(self, does: str, names: Iterable[str], there: set[str]) -> None:
        for name in names:
            if name not in there:
                raise ArtifactError(
                    f"{PLAN} {does} {name!r}, which the model does not have. The file was "
                    "altered; run the search again."
                )

    def _check_positions(self) -> None:
        for tensor, dims in self.removed.items():
            shape = self.dense_shapes.get(tensor, ())
            for dim, positions in dims.items():
                size = shape[dim] if 0 <= dim < len(shape) else 0
                if not all(0 <= position < size for position in positions):
                    raise ArtifactError(
                        f"{PLAN} removes positions of {tensor!r}, dimension {dim}, that it does "
                        "not have. The file was altered; run the search again."
                    )


def _modules(model: nn.Module) -> set[str]:
    """Return the names of what a model is made of, the whole not among them."""
    return {name for name, _ in model.named_modules(remove_duplicate=False) if name}


def _parameters(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters(remove_duplicate=False)}


def load(
    folder: str | Path, model: nn.Module | Callable[[], nn.Module] | str | None = None
) -> nn.Module:
    """Return the pruned model of a result folder, in eval mode, on the CPU.

    Args:
        folder: What a finished search wrote.
        model: The dense model or what builds it, weights being irrelevant; None to call the
            constructor that the run recorded. That, like an import string (``model.py:build``,
            relative to the current folder), imports the file or module it names.

    Raises:
        ArtifactError: If the folder is incomplete or altered, or the dense model does not fit.
        ModelError: If an import string leads to nothing that builds a model.
    """
    folder = Path(folder)
    architecture = Architecture.read(folder)
    model = what_builds(folder, architecture, model)
    dense = model if isinstance(model, nn.Module) else model()
    if not isinstance(dense, nn.Module):
        raise ArtifactError(
            f"'model' must be the dense model or a function that returns it. Got {dense!r}."
        )
    pruned = architecture.cut(dense).cpu()
    load_weights(pruned, folder / WEIGHTS, architecture.weights_sha256)
    keep_zeros(pruned, architecture.sparse)
    return pruned.eval()


def what_builds(
    folder: Path,
    architecture: Architecture,
    model: nn.Module | Callable[[], nn.Module] | str | None,
) -> nn.Module | Callable[[], nn.Module]:
    """Return what was given or an import string names, or the constructor that the run recorded.

    Raises:
        ArtifactError: If neither is there.
        ModelError: If a text is no import string.
    """
    if isinstance(model, str):
        return Constructor(target=model).build
    if model is not None:
        return model
    if architecture.constructor is None:
        raise ArtifactError(
            f"{folder} does not say how its model is built. Give the dense model: "
            "--model FILE.py:NAME, in Python autoprune.load(folder, model=...)."
        )
    return Constructor.from_dict(architecture.constructor, folder).build
