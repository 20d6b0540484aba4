"""The commands of a line of shell, and whether they could be given."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from autoprune.cli.main import app

MAKEFILE = Path(__file__).parents[2] / "Makefile"
KNOWN = {"cd", "export", "git"}  # nobody checks what they are given


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
        click.UsageError: If a command has no such option or argument, or not such a value.
        LookupError: If there is no such command or target of the Makefile.
    """
    for words, _ in commands(line):
        program, *rest = words
        if program == "autoprune":
            command: Any = get_command(app)
            while hasattr(command, "commands"):
                program = rest.pop(0)
                command = command.commands[program]
            command.make_context(program, rest)
        elif program == "make":
            rules = MAKEFILE.read_text(encoding="utf-8")
            if re.search(rf"^{re.escape(rest[0])}:", rules, re.MULTILINE) is None:
                raise LookupError(f"The Makefile has no target {rest[0]!r}.")
        elif program not in KNOWN:
            raise LookupError(f"Nobody knows how to check {program!r}: {line}")
