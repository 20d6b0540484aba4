"""Writes the pages that are made of the code: the commands, and the keys of a search file.

``python docs/site/references.py`` writes them, ``make docs`` does so before it builds the site.
"""

import inspect
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from griffe import Docstring, DocstringSectionKind
from pydantic_core import PydanticUndefined

from autoprune.core.recovery import Recovery
from autoprune.execution.config import SearchFile

DOCS = Path(__file__).parents[1]
KEYS = """\
# Keys of a search file

Made of the code by `docs/site/references.py`. Only `model` and `data` are needed, and one of
`budget`, `pareto` and `max_drop`. Options of the command line that have the name of a key win over
it. A key that is not known is an error. Paths are relative to the file, those of `out` and
`warm_start` to the folder where the command runs.

{keys}

## Keys of `recovery`

How pruned models are brought back: before each score ([scoring.md](scoring.md)), longer at the
end ([recovery.md](recovery.md)). In Python they are the arguments of `autoprune.Recovery`.

{recovery}
"""
COMMANDS = """\
# Commands

Made of the code by `docs/site/references.py`. What exit codes mean to a cluster is in
[jobs.md](jobs.md).

"""


def pages() -> dict[str, str]:
    """Return the text of each page that is made, by the name of its file."""
    keys = {name: field.get_default() for name, field in SearchFile.model_fields.items()}
    keys["recovery"] = "see below"
    recovery = {field.name: field.default for field in fields(Recovery)}
    tables = {"keys": _table(SearchFile, keys), "recovery": _table(Recovery, recovery)}
    return {"search_file.md": KEYS.format(**tables), "cli.md": COMMANDS + _commands()}


def _table(documented: type, defaults: dict[str, Any]) -> str:
    """Return a table of what the docstring says of each argument of a class, in its order."""
    sections = Docstring(inspect.getdoc(documented) or "").parse("google", warnings=False)
    told = {
        one.name: one.description
        for part in sections
        if part.kind is DocstringSectionKind.parameters
        for one in part.value
    }
    assert told.keys() == defaults.keys(), told.keys() ^ defaults.keys()
    rows = (f"| `{name}` | {_shown(defaults[name])} | {_cell(told[name])} |" for name in told)
    return "\n".join(("| key | if left out | what it says |", "| --- | --- | --- |", *rows))


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "needed"
    if default is None or default == ():
        return ""
    if default == "see below":
        return "see below"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        pairs = ([str(Fraction(x).limit_denominator(99)) for x in pair] for pair in default)
        return f"`[{', '.join(f'[{share}, {part}]' for share, part in pairs)}]`"
    return f"`{getattr(default, 'target', default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _commands() -> str:
    """Return what Typer tells of all commands, as sections of the page."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "commands.md"
        module = [sys.executable, "-m", "typer", "autoprune.cli.main", "utils", "docs"]
        command = [*module, "--name", "autoprune", "--output", str(written)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        text = written.read_text(encoding="utf-8")
    return "\n".join(_sectioned(text.splitlines())).strip() + "\n"


def _sectioned(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield f"#{line}" if line.startswith("# ") else line


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
