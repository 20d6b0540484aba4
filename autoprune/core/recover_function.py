"""The user's own training function, in place of ours in the last round."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.core.function_identity import plain, source_of, sum_of
from autoprune.core.imports import load_object, parse_import
from autoprune.core.user_code import user_code
from autoprune.errors import ConfigError

_FORM = "recover(model, epochs), which trains the model in place or returns it"


@dataclass(frozen=True, kw_only=True)
class RecoverFunction:
    """A function that trains a pruned model: ``recover(model, epochs)``.

    Args:
        name: Its import string, or module and name.
        function: The function.
        source: SHA-256 of the code it comes from and of what it holds, 64 hex digits.
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
        code = plain(given)
        name = f"{code.__module__}:{code.__qualname__}"
        return cls(name=name, function=given, source=source_of(given))._checked()

    @classmethod
    def imported(cls, target: str, base: Path, what: str = "recover") -> "RecoverFunction":
        """Import what ``target`` names; files are relative to ``base``.

        Raises:
            ConfigError: If it cannot be imported or called with a model and epochs.
        """
        function = load_object(target, base=base, what=what, error=ConfigError)
        parsed = parse_import(target, what=what, error=ConfigError)
        file = parsed.path(base) if parsed.is_file else None
        return cls(
            name=str(parsed),
            function=function,
            source=source_of(function) if file is None else sum_of(file.read_bytes()),
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
