"""The one look of tables in the terminal."""

import os
from typing import Literal

from rich.console import Console
from rich.table import Table

WIDE = 400  # characters of a line where no terminal says how many there are


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; columns named in ``right`` are set to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, header_style="dim", overflow="fold")
    return made


def standard_output() -> Console:
    """Return standard output as rich writes to it; numbers in texts get no colours."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE  # names are searched for and copied: nothing may break them
    return console
