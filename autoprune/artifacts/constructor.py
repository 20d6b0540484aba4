"""How to build the dense architecture again, without the code that trained it."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.core.imports import load_object, parse_import
from autoprune.core.user_code import user_code
from autoprune.errors import ArtifactError, ConfigError, ModelError

if TYPE_CHECKING:
    from torch import nn

_ELSE = "Or give the dense architecture yourself: autoprune.load(FOLDER, model=MODEL)."


@dataclass(frozen=True, kw_only=True)
class Constructor:
    """A function or class that returns the dense architecture, and its arguments.

    Args:
        target: Import string, ``FILE.py:NAME`` or ``MODULE:NAME``.
        args: Keyword arguments, plain JSON types.
        base: Folder that a file in ``target`` is relative to; the current folder if not given.
        what: Where the target was written, for messages.
        sha256: Sum of the file when it was recorded, 64 hex digits, if it is a file.
        recorded: Whether it was read from a result folder.

    Raises:
        ModelError: If ``target`` is no import string.
        ConfigError: If ``args`` are no plain JSON types.
    """

    target: str
    args: Mapping[str, Any] = field(default_factory=dict)
    base: Path = field(default_factory=Path.cwd, compare=False)
    what: str = field(default="model", compare=False)
    sha256: str | None = field(default=None, compare=False)
    recorded: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        parse_import(self.target, what=self.what)
        try:
            json.dumps(dict(self.args), allow_nan=False)
        except (TypeError, ValueError) as err:
            raise ConfigError(
                f"{self.what}: the arguments of {self.target!r} must be numbers, texts, lists or "
                f"mappings, so that a result can record them. Got {dict(self.args)!r}."
            ) from err

    @property
    def file(self) -> Path | None:
        """The file in ``target``, or ``None`` for a module."""
        target = parse_import(self.target)
        return target.path(self.base) if target.is_file else None

    @property
    def changed(self) -> bool:
        """Whether the file is not the one that was recorded; only the plan's shapes matter."""
        return self.sha256 is not None and self.sha256 != _sum(self.file)

    def build(self) -> "nn.Module":
        """Return a new model, in whatever state the constructor leaves it.

        Raises:
            ModelError: If the target cannot be imported or called, or returns something else.
            ArtifactError: The same, for a constructor that was read from a result folder.
        """
        try:
            return self._build()
        except ModelError as err:
            if self.recorded:
                raise ArtifactError(f"{err} {_ELSE}") from err
            raise

    def _build(self) -> "nn.Module":
        from torch import nn

        function = load_object(self.target, base=self.base, what=self.what)
        folder = self.file.parent if self.file else None
        with user_code(f"{self.what}: {self.target!r} raised", ModelError, folder):
            model = function(**self.args)
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"{self.what}: {self.target!r} must return a torch.nn.Module. "
                f"Got {type(model).__name__}."
            )
        return model

    def to_dict(self, folder: Path) -> dict[str, Any]:
        """Return plain JSON types; a file is recorded relative to ``folder``, with its sum."""
        if self.file is None:
            return {"target": self.target, "args": dict(self.args)}
        name = parse_import(self.target).name
        try:
            path = Path(os.path.relpath(self.file, folder.resolve())).as_posix()
        except ValueError:  # another drive
            path = self.file.as_posix()
        return {"target": f"{path}:{name}", "args": dict(self.args), "sha256": _sum(self.file)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], folder: Path) -> "Constructor":
        """Read what `to_dict` wrote into ``folder``; nothing is imported before `build`.

        Raises:
            ArtifactError: If ``raw`` is not of that form.
        """
        try:
            return cls(
                target=raw["target"],
                args=dict(raw["args"]),
                base=folder,
                what=f"{folder}, constructor",
                sha256=raw.get("sha256"),
                recorded=True,
            )
        except (KeyError, TypeError, AttributeError, ModelError, ConfigError) as err:
            raise ArtifactError(
                f"{folder} records the model's constructor as {raw!r}, which is not "
                f"{{'target': ..., 'args': ...}}. {_ELSE}"
            ) from err


def _sum(file: Path | None) -> str | None:
    if file is None or not file.is_file():
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()
