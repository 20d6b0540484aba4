"""The one look of tables in the terminal."""

import os
from collections.abc import Iterable
from typing import IO, Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from autoprune.core.terminal_text import harmless

WIDE = 400  # characters of a line where no terminal says how many there are


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; columns named in ``right`` are set to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, header_style="dim", overflow="fold")
    return made


class PlainConsole(Console):
    """Prints texts as they are: names in them are of others, and neither markup nor commands."""

    def __init__(self, file: IO[str] | None = None, width: int | None = None) -> None:
        super().__init__(file=file, width=width, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is written; what steers a terminal in it, other than rich, is spelled out."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)


def standard_output() -> Console:
    """Return standard output as rich writes to it."""
    console = PlainConsole()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE  # names are searched for and copied: nothing may break them
    return console
