"""``autoprune agent``: a thin client of `autoprune.join_api`."""

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.database import Database, here
from autoprune.cli.search_settings import seconds_of, settings_of
from autoprune.cli.stopping import Stop, stoppable
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.core.progress import ProgressCallback
from autoprune.errors import AutopruneError, ConfigError

agent = typer.Typer(no_args_is_help=True, help="Help a search that another process began.")


@agent.callback()
def _agent() -> None:
    """Help a search that another process began."""


@agent.command()
def join(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Name of the run, or a folder of that name.")
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The search file, where it is not at the path that the run was begun with.",
        ),
    ] = None,
    database: Database = None,
    runner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where this agent scores policies.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Policies that this agent scores at a time, or auto."),
    ] = None,
    wait: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long to wait until the run is begun and ready."),
    ] = "10m",
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="End after 90s, 10m, 6h: exit code 3.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Tell of each evaluation that ends, by any agent.")
    ] = False,
) -> None:
    """Score policies of a run on a database server until nothing is left to be scored.

    Any number of agents on any machines may come and go. Whoever began the run with autoprune
    search fine-tunes the best and writes the result.
    """
    from autoprune.reporting.progress import progress_for

    place = _place(database, file)
    with stdout_to_stderr():
        try:
            limit = seconds_of(deadline, "--deadline")
            with stoppable(limit), progress_for(verbose=verbose) as progress:
                given = {"runner": runner, "workers": workers}
                count = _join(Path(run).name, file, place, given, wait, progress)
        except (KeyboardInterrupt, Stop) as stop:
            told = f"autoprune: stopped {stop}".rstrip()
            echo(f"{told}. {_who_goes_on(run, place)}", err=True)
            raise typer.Exit(130 if isinstance(stop, KeyboardInterrupt) else 3) from None
    told = f"{count} policies are scored; nothing is left to be scored."
    if not as_json:
        told += f" {_who_goes_on(run, place)}"
    echo(json.dumps({"run": Path(run).name, "evaluations": count}) if as_json else told)


def _place(database: str | None, file: Path | None) -> str | None:
    """Return the database of the run; None for what the environment names.

    A file that was given is read for it. That of the run is not: it is found by the database.
    """
    if database is None and file is not None:
        return settings_of(file, {}).shared_database
    return here(database)


def _who_goes_on(run: str, database: str | None) -> str:
    """Return what becomes of a run without this agent; empty if that cannot be told."""
    from autoprune.agent.housing.listed import find_listed
    from autoprune.storage.shared import shared_database

    state = ""
    with suppress(AutopruneError), closing(shared_database(database)) as shared:
        state = find_listed(run, shared).state
    return {
        "running": "Others go on with the run.",
        "finished": "The run is finished.",
        "stopped": "Nobody works on the run now: the command that began it goes on, with "
        "--if-exists resume, and fine-tunes the best.",
    }.get(state, "")


def _join(
    run: str,
    file: Path | None,
    database: str | None,
    given: dict[str, str | None],
    wait: str,
    progress: ProgressCallback,
) -> int:
    from autoprune import join_api
    from autoprune.agent.housing.workspace import SOURCE
    from autoprune.agent.join import find_shared_run
    from autoprune.execution.build import build_model, build_task, load_recover

    seconds = seconds_of(wait, "--wait") or 0.0
    if file is None:
        found = find_shared_run(run, database, seconds, progress)
        path = found.kept.get(SOURCE, {}).get("path")
        if path is None or not Path(path).is_file():
            raise ConfigError(
                f"The search file of the run {run!r} is needed for its model and data, and "
                f"{f'there is no {path} here' if path else 'it was begun without one'}. Give "
                "--file."
            )
        file = Path(path)
    settings = settings_of(file, dict(given))
    return join_api.join(
        build_model(settings),
        task=build_task(settings),
        run=run,
        database=database,
        recover=load_recover(settings),
        runner=settings.reference(settings.runner),
        workers=settings.workers,
        wait=seconds,
        progress=progress,
    )
