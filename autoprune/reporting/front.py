"""The report of a front: its points and the limits that have none."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Measured
from autoprune.reporting.effort import effort_line
from autoprune.reporting.markdown import rendered, versions_text
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import amount_text, share_text


def print_front(front: Front, folder: Path, console: Console | None = None) -> None:
    """Print the report of a front that lies in ``folder``, on standard output if not told."""
    console = console or standard_output()
    names = columns(front)
    rows = table(f"Front of {front.metric} against {front.cost}", *names, right=names[1:-1])
    for row in front_rows(front):
        rows.add_row(*map(Text, row))
    console.print(rows)
    for one in front.left_out:
        console.print(Text(f"No point at {one.limit}: {one.reason}"), soft_wrap=True)
    console.print(Text(f"\n{effort_line(front)}"))
    console.print(Text(f"Points in {folder}", style="bold"), soft_wrap=True)


def front_markdown(front: Front) -> str:
    """Return the text of a front's ``report.md``."""
    return rendered(
        "front.md.j2",
        front=front,
        columns=columns(front),
        rows=front_rows(front),
        effort=effort_line(front),
        versions=versions_text(front.versions),
    )


def columns(front: Front) -> tuple[str, ...]:
    """Return the names of the columns; 1 MAC = 2 FLOPs."""
    cost = "MACs (1 MAC = 2 FLOPs)" if front.cost == "macs" else front.cost
    return ("limit", cost, "of dense", "search split", "test split", "folder")


def front_rows(front: Front) -> list[tuple[str, ...]]:
    """Return a row for each point, the smallest first, and one for the dense model."""
    points = [_row(front, p.limit, p.share, p.pruned, p.folder) for p in front.points]
    return [*points, _row(front, "dense", 1.0, front.dense, "")]


def _row(front: Front, limit: str, share: float, model: Measured, folder: str) -> tuple[str, ...]:
    amount = model.costs.as_dict()[front.cost]
    both = (model.quality_search, model.quality_test)
    qualities = map(front.yardstick.text, both)
    return (limit, amount_text(front.cost, amount), share_text(share, 1.0), *qualities, folder)
