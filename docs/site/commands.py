"""The commands of a line of shell, and whether they could be given."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from typer.main import get_command

from autoprune.cli.main import app

ROOT = Path(__file__).parents[2]
KNOWN = {
    "cd",
    "export",
    "git",
    "jupyter",
    "kubectl",
    "pre-commit",
    "pytest",
}  # not checked further


def commands(line: str) -> Iterator[tuple[list[str], str]]:
    """Yield the words of each command that ``&&`` joins, and the file that its output goes to."""
    words = shlex.split(line, comments=True)
    while words:
        at = words.index("&&") if "&&" in words else len(words)
        one, words = words[:at], words[at + 1 :]
        to = one.index(">") if ">" in one else len(one)
        yield one[:to], "".join(one[to + 1 :])


def check(line: str) -> None:
    """Check that the commands of a line exist, and have the options that they are given.

    Raises:
        LookupError: If there is no such command, option, target of the Makefile, script, module or
            extra, or an option has not such a value.
    """
    for words, _ in commands(line):
        program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
        if program == "autoprune":
            _check_ours(rest, line)
        elif program == "docker" and "autoprune" in rest:
            _check_ours(rest[rest.index("autoprune") + 1 :], line)
        elif program == "make":
            rules = (ROOT / "Makefile").read_text(encoding="utf-8")
            _require(re.search(rf"^{re.escape(rest[0])}:", rules, re.MULTILINE), line)
        elif program == "python":
            module = rest[0] == "-m"
            _require(find_spec(rest[1]) if module else (ROOT / rest[0]).is_file(), line)
        elif program == "pip":
            extra = rest[1].removeprefix("autoprune[").removesuffix("]")
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
                "project"
            ]
            _require(extra in project["optional-dependencies"], line)
        elif program not in KNOWN:
            raise LookupError(f"Nobody knows how to check {program!r}: {line}")


def _check_ours(words: list[str], line: str) -> None:
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    try:
        command.make_context(name, words)
    except Exception as err:  # of click, or of the copy of it that Typer holds
        raise LookupError(f"This cannot be given: {line}: {err}") from err


def _require(found: object, line: str) -> None:
    if not found:
        raise LookupError(f"What it names is not there: {line}")
