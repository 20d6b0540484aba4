"""Import strings: ``folder/model.py:resnet`` or ``torchvision.models:resnet18``."""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune._hints import did_you_mean
from autoprune.core.user_code import user_code
from autoprune.core.user_modules import import_file
from autoprune.errors import InputError, ModelError

_FORM = re.compile(r"(?P<source>.+\.py|[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_]\w*(?:\.\w+)*)")


@dataclass(frozen=True, slots=True)
class ImportString:
    """An import string, read: what it names.

    Args:
        source: Path of a ``.py`` file, or a dotted module name.
        name: Attribute to take from it; dots reach inside, as in ``Net.small``.
    """

    source: str
    name: str

    @property
    def is_file(self) -> bool:
        """Whether ``source`` is a file."""
        return self.source.endswith(".py")

    def path(self, base: Path) -> Path:
        """Return the file, relative ones starting at ``base``."""
        return (base / self.source).resolve()

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def is_import(text: str) -> bool:
    """Tell whether ``text`` is an import string and not, for instance, a path."""
    return _FORM.fullmatch(text.removeprefix("module:")) is not None


def parse_import(
    text: str, *, what: str = "model", error: type[InputError] = ModelError
) -> ImportString:
    """Read an import string; ``what`` names the place it comes from, for the message.

    Raises:
        InputError: As ``error``, if ``text`` is no import string.
    """
    match = _FORM.fullmatch(text.removeprefix("module:"))
    if match is None:
        raise error(
            f"{what} must be FILE.py:NAME or MODULE:NAME, like 'model.py:resnet' or "
            f"'torchvision.models:resnet18'. Got {text!r}."
        )
    return ImportString(match["source"], match["name"])


def load_object(
    text: str, *, base: Path, what: str = "model", error: type[InputError] = ModelError
) -> Any:
    """Import what ``text`` names; files are relative to ``base``.

    ``NAME:attribute`` is refused if ``NAME`` is a module and ``base/NAME.py`` exists as well.
    Write ``NAME.py:attribute`` for the file or ``module:NAME:attribute`` for the module.

    Raises:
        InputError: As ``error``, if the source is missing, ambiguous, raises, or lacks the name.
    """
    named = parse_import(text, what=what, error=error)
    if named.is_file:
        source = source_file(named, base=base, what=what, error=error)
    elif not text.startswith("module:"):
        _refuse_ambiguous(named, base, what, error)
    with user_code(f"{what}: cannot import {named.source!r}", error):
        module = import_file(source) if named.is_file else importlib.import_module(named.source)
    return _attribute(module, named, what, error)


def source_file(named: ImportString, *, base: Path, what: str, error: type[InputError]) -> Path:
    """Return the file of an import string that names one.

    Raises:
        InputError: As ``error``, if it is missing.
    """
    source = named.path(base)
    if not source.is_file():
        raise error(
            f"{what}: there is no file {named.source!r} in {base}. Paths start at the folder "
            "of the file that names them."
        )
    return source


def _refuse_ambiguous(named: ImportString, base: Path, what: str, error: type[InputError]) -> None:
    file = f"{named.source.replace('.', '/')}.py"
    if not (base / file).is_file():
        return
    try:
        known = importlib.util.find_spec(named.source) is not None
    except (ImportError, ValueError):
        known = False
    if known:
        raise error(
            f"{what}: {str(named)!r} could mean the file {file!r} in {base} or the module "
            f"{named.source!r}. Write '{file}:{named.name}' or 'module:{named}'."
        )
    raise error(
        f"{what}: there is no module {named.source!r}, but a file {file!r} in {base}. "
        f"Write '{file}:{named.name}' to use it."
    )


def _attribute(module: Any, named: ImportString, what: str, error: type[InputError]) -> Any:
    found = module
    for part in named.name.split("."):
        if not hasattr(found, part):
            names = [name for name in dir(found) if not name.startswith("_")]
            hint = did_you_mean(part, names)
            raise error(f"{what}: {named.source!r} has no {named.name!r}.{hint}")
        found = getattr(found, part)
    return found
