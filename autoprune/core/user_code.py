"""Run a user's code so that what it raises becomes one paragraph about their file."""

import os
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from autoprune.core.user_modules import importing_from
from autoprune.errors import InputError

EXTRAS = frozenset({"ray", "timm", "torchvision"})  # named like the module that they bring


@contextmanager
def user_code(
    doing: str,
    error: type[InputError],
    folder: Path | None = None,
    through: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turn whatever the user's code raises into one paragraph that points into their file.

    Args:
        doing: Start of the message: what was being done.
        error: Class to raise.
        folder: Folder that the code may import siblings from meanwhile.
        through: What is no fault of the code, and passes through.

    Raises:
        InputError: As ``error``; errors that are an `InputError` already pass through.
    """
    try:
        # Losses are called for every batch: it takes milliseconds to look through all modules.
        with importing_from(folder) if folder else nullcontext():
            yield
    except (Exception, SystemExit) as err:
        if isinstance(err, (InputError, *through)):
            raise
        raise error(f"{doing}: {blame(err)}") from err


def blame(err: BaseException) -> str:
    """Return type, message and place of an error that a user's code raised, in one line."""
    message = textwrap.shorten(str(err), 400)
    if isinstance(err, SyntaxError) and err.filename:
        return f"{type(err).__name__}: {err.msg} ({err.filename}, line {err.lineno})."
    frames = traceback.extract_tb(err.__traceback__)
    own = [f for f in frames if not f.filename.startswith("<") and not _is_library(f.filename)]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    said = f"{type(err).__name__}{': ' if message else ''}{message.rstrip('.')}{place}."
    return f"{said}{_remedy(err)}"


def _remedy(err: BaseException) -> str:
    """Return what to do about an error that many people meet, a sentence, or nothing."""
    if isinstance(err, ModuleNotFoundError):
        missing = (err.name or "").partition(".")[0]
        return f" Run: pip install 'autoprune[{missing}]'." if missing in EXTRAS else ""
    path = err.filename if isinstance(err, FileNotFoundError) else None
    if isinstance(path, str | os.PathLike) and not Path(path).is_absolute():
        return (
            " Relative paths inside of your code start where the command runs; build them from "
            "Path(__file__).parent."
        )
    return ""


def _is_library(filename: str) -> bool:
    parts = Path(filename).parts
    ours = Path(__file__).resolve().parent.parent
    installed = "site-packages" in parts or "dist-packages" in parts
    stdlib = Path(traceback.__file__).parent
    return installed or ours in Path(filename).parents or stdlib in Path(filename).parents
