"""The command line that every benchmark has."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from autoprune.artifacts.files import write_text
from benchmarks.provenance import RESULTS, commit, machine
from benchmarks.store import Reuse, Store
from benchmarks.work import Results, Task, run_all

Quick = Annotated[bool, typer.Option(help="A few models, in five minutes at most.")]
State = Annotated[
    Path | None, typer.Option(help="Folder of what is done, so that a cut run goes on.")
]
ReuseOf = Annotated[
    Reuse, typer.Option(help="Which results in the folder count: of the same code, any, none.")
]
Only = Annotated[
    str, typer.Option(help="Do only tasks whose 'kind.name' holds this; no file is written.")
]
Write = Callable[[Path, Results, Mapping[str, Any]], None]


def write_results(path: Path, results: Results, last: Mapping[str, Any]) -> None:
    """Write ``last`` (figures, machine, commit) with the facts behind it; replaces the file."""
    write_text(path, json.dumps({**last, "results": results}, indent=1) + "\n")


def command(
    name: str,
    purpose: str,
    tasks: Callable[..., Iterable[Task]],
    figures: Callable[[Results], Mapping[str, Any]],
    write: Write = write_results,
    *,
    partly: bool = False,
) -> Callable[..., None]:
    """Return the command line of a benchmark, for typer; arguments are those of `run`.

    Args:
        name: Name of the benchmark.
        purpose: The first sentence of its help.
        tasks: Takes ``quick`` and yields what there is to do.
        figures: Makes the figures of the results.
        write: Writes the file of a full run.
        partly: Whether it is written anew after each task, with what is known by then.
    """

    def main(
        quick: Quick = False, state: State = None, reuse: ReuseOf = "same", only: Only = ""
    ) -> None:
        options: dict[str, Any] = {"quick": quick, "state": state, "reuse": reuse, "only": only}
        run(name, tasks(quick=quick), figures, write, **options, partly=partly)

    file = f"benchmarks/results/{name}.json"
    main.__doc__ = f"{purpose}\n\nThe last line is JSON; the full run writes {file}."
    return main


def run(
    name: str,
    tasks: Iterable[Task],
    figures: Callable[[Results], Mapping[str, Any]],
    write: Write,
    *,
    quick: bool,
    state: Path | None,
    reuse: Reuse,
    only: str,
    partly: bool = False,
) -> None:
    """Do the tasks, print one JSON object last, and write the file of a full run.

    Args:
        name: Name of the benchmark; the file is ``benchmarks/results/NAME.json``.
        tasks: What there is to do.
        figures: Makes the figures of the results.
        write: Writes a file from the results and what is printed.
        quick: Whether the tasks are those of a quick run, whose results are not kept.
        state: Folder of what is done, None for the one beside the results.
        reuse: Which results in the folder count.
        only: What ``kind.name`` of a task must hold.
        partly: Whether the file is written after each task too.
    """

    def told(results: Results, *, whole: bool) -> Mapping[str, Any]:
        last = {"figures": figures(results), "machine": machine(), "commit": commit()}
        if (whole or partly) and not quick and not only:
            write(RESULTS / f"{name}.json", results, last)
        return last

    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory()) if quick else RESULTS / f".{name}"
        store = Store(state or Path(scratch), reuse)
        wanted = [task for task in tasks if only in f"{task.kind}.{task.name}"]
        results = run_all(wanted, store, commit(), lambda known: told(known, whole=False))
    print(json.dumps(told(results, whole=True)), flush=True)
