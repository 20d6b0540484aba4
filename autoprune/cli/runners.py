"""``autoprune runners``: where a search can run; shipped files and your own."""

import json
from itertools import takewhile
from typing import Annotated, Any

import typer

from autoprune._resources import names
from autoprune.cli.listing import print_shipped
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo, stdout_to_stderr

Runner = Annotated[
    str, typer.Argument(metavar="RUNNER", help="A shipped runner, or file:PATH for your own.")
]

runners = typer.Typer(no_args_is_help=True, help="Runners: list, show and check them.")


@runners.command("list")
def list_runners(as_json: AsJson = False) -> None:
    """List the runners that come with autoprune."""
    from autoprune.execution.runners.load import FOLDER

    print_shipped([_summary(name) for name in names(FOLDER, ".yaml")], as_json, ("name", "kind"))


@runners.command()
def show(runner: Runner, as_json: AsJson = False) -> None:
    """Print a runner: the file with its comments, or what was understood of it."""
    from autoprune.execution.runners import find_runner, read_runner

    path = find_runner(runner)
    read = read_runner(path)
    if as_json:
        echo(read.model_dump_json(indent=2))
    else:
        echo(path.read_text(encoding="utf-8"), nl=False)


@runners.command()
def check(runner: Runner, as_json: AsJson = False) -> None:
    """Check a runner's file, and whether it can be used on this machine: exit code 1 if not.

    Devices, packages and tools are looked for; a Ray cluster is asked whether it answers.
    """
    from autoprune.execution.runners import find_runner, read_runner

    with stdout_to_stderr():
        from autoprune.execution.usable import missing

        read = read_runner(find_runner(runner))
        lacking = missing(read)
    if as_json:
        told = {"runner": runner, "kind": read.kind, "usable": not lacking, "missing": lacking}
        echo(json.dumps(told, indent=2))
    else:
        usable = f"The runner {runner!r}, of kind {read.kind!r}, can be used here."
        echo("\n".join(lacking) or usable)
    raise typer.Exit(1 if lacking else 0)


def _summary(name: str) -> dict[str, Any]:
    from autoprune.execution.runners import find_runner, read_runner

    path = find_runner(name)
    comment = takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
    first, _, more = " ".join(line.lstrip("# ") for line in comment).partition(". ")
    told = f"{first}." if more else first
    return {"name": name, "kind": read_runner(path).kind, "description": told}
