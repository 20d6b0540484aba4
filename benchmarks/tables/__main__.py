"""``python -m benchmarks.tables``: make the tables, or tell what they are like."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track

from benchmarks.provenance import RESULTS, commit, machine
from benchmarks.tables.figures import figures, gaps
from benchmarks.tables.make import make as make_table
from benchmarks.tables.objective import TableObjective
from benchmarks.tables.recipes import RECIPES
from benchmarks.tables.table import FOLDER

QUICK = 20  # policies
Names = Annotated[list[str] | None, typer.Argument(help="Tables; all if none is named.")]

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def make(
    names: Names = None,
    quick: Annotated[bool, typer.Option(help="A few policies each; no file is kept.")] = False,
) -> None:
    """Train small networks, score every policy and write benchmarks/tables/NAME.npz.

    A run that was cut goes on where it was. The last line is JSON.
    """
    torch.set_num_threads(1)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        state = scratch if quick else RESULTS / ".tables"
        state.mkdir(parents=True, exist_ok=True)
        written = scratch if quick else FOLDER
        wanted = _wanted(names)
        for name in wanted:
            table = make_table(RECIPES[name], state, _shown(name), QUICK if quick else None)
            table.save(written / f"{name}.npz")
        _tell(wanted, written, whole=not quick)


@app.command()
def show(names: Names = None) -> None:
    """Tell what the tables are like: spread, noise, gaps of plain searches; as JSON."""
    _tell(_wanted(names), FOLDER, whole=True)


def _wanted(names: Sequence[str] | None) -> list[str]:
    for name in names or ():
        if name not in RECIPES:
            raise typer.BadParameter(
                f"There is no table {name!r}; there are {', '.join(RECIPES)}."
            )
    return list(names or RECIPES)


def _tell(names: Sequence[str], folder: Path, *, whole: bool) -> None:
    found = {name: _figures(name, folder, whole) for name in names}
    print(json.dumps({"figures": found, "machine": machine(), "commit": commit()}), flush=True)


def _figures(name: str, folder: Path, whole: bool) -> dict[str, Any]:
    objective = TableObjective.load(name, folder)
    size = (folder / f"{name}.npz").stat().st_size
    return {"bytes": size} | figures(objective) | (gaps(objective) if whole else {})


def _shown(name: str) -> Any:
    console = Console(stderr=True)

    def watch(items: Sequence[Any], what: str) -> Iterator[Any]:
        yield from track(items, f"{name}: {what}", console=console)

    return watch


if __name__ == "__main__":
    app()
