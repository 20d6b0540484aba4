"""``python -m benchmarks.surgery``: the zoo, the rival, building time and memory."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.provenance import RESULTS, commit, machine
from benchmarks.store import Reuse, Store
from benchmarks.surgery.figures import figures
from benchmarks.surgery.plan import tasks
from benchmarks.surgery.table import write_table
from benchmarks.tasks import run_all

STATE = RESULTS / ".surgery"


def main(
    quick: Annotated[bool, typer.Option(help="A few models, in five minutes at most.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of what is done, so that a cut run goes on."),
    ] = None,
    reuse: Annotated[
        Reuse, typer.Option(help="Which results in the folder count: of the same code, any, none.")
    ] = "same",
    only: Annotated[
        str, typer.Option(help="Do only tasks whose 'kind.name' holds this; no file is written.")
    ] = "",
) -> None:
    """Measure our surgery and Torch-Pruning on the same models. The last line is JSON.

    The full run writes benchmarks/results/surgery.json: every model, and why what failed did.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory()) if quick else STATE
        store = Store(state or Path(scratch), reuse)
        wanted = [task for task in tasks(quick=quick) if only in f"{task.kind}.{task.name}"]
        results = run_all(wanted, store, commit())
    last = {"figures": figures(results), "machine": machine(), "commit": commit()}
    if not quick and not only:
        write_table(RESULTS / "surgery.json", results, last)
    print(json.dumps(last), flush=True)


if __name__ == "__main__":
    typer.run(main)
