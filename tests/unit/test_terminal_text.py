"""What others named something does nothing to a terminal."""

import io
import sys

import pytest
from rich.text import Text

from autoprune.cli.streams import echo
from autoprune.core.terminal_text import harmless, shortened
from autoprune.reporting.progress import TerminalProgress, _bar
from autoprune.reporting.tables import PlainConsole, table

STEERS = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\rb": r"a\rb",
    "\x9b31m": r"\x9b31m",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe": r"\u202etxt.exe",
    "\udcff": r"\udcff",
}


@pytest.mark.parametrize("text", STEERS)
def test_what_steers_a_terminal_is_spelled_out(text: str) -> None:
    assert harmless(text) == STEERS[text]


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand", "größer 模型 💥", ""])
def test_what_is_read_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_a_long_text_keeps_its_ends() -> None:
    found = shortened("a" * 5000 + "b" * 5000, 100)
    assert found == f"{'a' * 50} ... 9900 characters ... {'b' * 50}"
    assert shortened("a" * 100, 100) == "a" * 100


def test_commands_print_names_harmlessly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    echo("run \x1b[2Jgone")
    echo("run \x1b[2Jgone", err=True)
    shown = capsys.readouterr()
    assert shown.out == shown.err == "run \\x1b[2Jgone\n"


def test_what_programs_read_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    echo("runs/می\N{ZERO WIDTH NON-JOINER}خواهم\udcff")
    assert capsys.readouterr().out == "runs/می\N{ZERO WIDTH NON-JOINER}خواهم\\udcff\n"


@pytest.mark.parametrize(
    "name", ["[bold]x[/bold]", "[/nope]", ":boom:", "[link=file:///]x[/link]"]
)
def test_names_are_no_markup(name: str) -> None:
    stream = io.StringIO()
    made = table("", name)
    made.add_row(name)
    made.title = name
    console = PlainConsole(stream, 100)
    console.print(made)
    console.print(name)
    assert "".join(stream.getvalue().split()) == "".join(name.split()) * 4


def test_colours_are_ours_alone() -> None:
    stream = io.StringIO()
    console = PlainConsole(stream, 100)
    console._force_terminal, console._color_system = True, None
    console.print(Text("ours \x1b[31mtheirs", style="bold"))
    assert r"\x1b[31mtheirs" in stream.getvalue()


def test_the_bar_shows_names_harmlessly() -> None:
    stream = io.StringIO()
    bar = _bar(stream)
    assert isinstance(bar.console, PlainConsole)
    TerminalProgress(bar)
    bar.console.print(Text("note \x1b[2J"))
    assert "\x1b[2J" not in stream.getvalue()
