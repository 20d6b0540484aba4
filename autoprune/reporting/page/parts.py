"""What a page is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A figure on the page.

    Args:
        id: Its place, unique on the page.
        title: What it shows.
        figure: The figure.
        note: How to read it.
    """

    id: str
    title: str
    figure: go.Figure
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table on the page; of ``columns`` those in ``right`` are numbers."""

    columns: Sequence[str]
    rows: Rows
    right: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure at a glance: what it is, its value, what it is beside, ``good`` if judged."""

    label: str
    value: str
    before: str = ""
    good: bool | None = None
