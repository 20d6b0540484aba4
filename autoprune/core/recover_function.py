"""The user's own training function, in place of ours in the last round."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from autoprune.core.imports import load_object, parse_target
from autoprune.core.user_code import user_code
from autoprune.errors import ConfigError

_FORM = "recover(model, epochs), which trains the model in place or returns it"


@dataclass(frozen=True, kw_only=True)
class RecoverFunction:
    """A function that trains a pruned model: ``recover(model, epochs)``.

    Args:
        name: Its import string, or module and name.
        function: The function.
        source: SHA-256 of the code it comes from, 64 hex digits.
        what: Where it was written, for messages.
        folder: Folder that its code may import siblings from.
    """

    name: str
    function: Callable[[Any, int], Any] = field(compare=False)
    source: str
    what: str = field(default="recover", compare=False)
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def of(cls, given: "RecoverFunction | Callable[[Any, int], Any] | str") -> "RecoverFunction":
        """Return what was given in Python: a function or its import string.

        Raises:
            ConfigError: If it cannot be imported or called with a model and epochs.
        """
        if isinstance(given, RecoverFunction):
            return given
        if isinstance(given, str):
            return cls.imported(given, Path.cwd())
        if not callable(given):
            raise ConfigError(
                f"recover must be a function {_FORM}, or an import string like "
                f"'train.py:recover'. Got {type(given).__name__}."
            )
        plain = _plain(given)
        name = f"{plain.__module__}:{plain.__qualname__}"
        return cls(name=name, function=given, source=_source(given))._checked()

    @classmethod
    def imported(cls, target: str, base: Path, what: str = "recover") -> "RecoverFunction":
        """Import what ``target`` names; files are relative to ``base``.

        Raises:
            ConfigError: If it cannot be imported or called with a model and epochs.
        """
        function = load_object(target, base=base, what=what, error=ConfigError)
        parsed = parse_target(target, what=what, error=ConfigError)
        file = parsed.path(base) if parsed.is_file else None
        return cls(
            name=str(parsed),
            function=function,
            source=_source(function) if file is None else _sum(file.read_bytes()),
            what=what,
            folder=file.parent if file else None,
        )._checked()

    def __call__(self, model: Any, epochs: int) -> Any:
        """Call the function.

        Raises:
            ConfigError: If it raises.
        """
        with user_code(f"{self.what}: {self.name!r} raised", ConfigError, self.folder):
            return self.function(model, epochs)

    def _checked(self) -> "RecoverFunction":
        try:
            inspect.signature(self.function).bind(None, 1)
        except ValueError:  # builtins may not tell
            pass
        except TypeError as err:
            raise ConfigError(
                f"{self.what}: {self.name!r} must be a function {_FORM}. It cannot be called with "
                f"two arguments: {err}."
            ) from err
        return self


def _plain(function: Any) -> Any:
    """Return the function or class that holds the code."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function if hasattr(function, "__qualname__") else type(function)


def _source(function: Any) -> str:
    """Return the sum of the file a function comes from, of its own text, or of its code."""
    plain = _plain(function)
    try:
        file = inspect.getsourcefile(plain)
        if file is not None and Path(file).is_file():
            return _sum(Path(file).read_bytes())
        return _sum(inspect.getsource(plain).encode())
    except (OSError, TypeError):
        code = getattr(plain, "__code__", None)
        return _sum(b"" if code is None else code.co_code + repr(code.co_names).encode())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
