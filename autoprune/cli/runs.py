"""``autoprune runs``: the runs that a database knows, and whether one is at work."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.database import KnownRuns, opened
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo

if TYPE_CHECKING:
    from autoprune.agent.housing.listed import ListedRun
    from autoprune.core.heartbeat import Heartbeat
    from autoprune.storage.agents import Agent

_BEST = 5  # evaluations that are shown of a run
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of a run, or its folder (--out of the search).")
]

runs = typer.Typer(
    no_args_is_help=True, help="Runs that the shared database knows: list, show, remove, probe."
)


@runs.command("list")
def list_runs(database: KnownRuns = None, as_json: AsJson = False) -> None:
    """List the runs that the database knows, oldest first.

    A run is running while one of its agents beats, finished when its result was written, and
    stopped otherwise: the command it was begun with goes on with it, with --if-exists resume.
    Quality is that on the search split.
    """
    from autoprune.agent.housing.listed import listed_runs

    with opened(database) as shared:
        found = [one.to_dict() for one in listed_runs(shared)] if shared else []
    if as_json:
        echo(json.dumps(found, indent=2))
        return
    from autoprune.reporting.runs_terminal import print_runs

    print_runs(found)


@runs.command()
def show(run: Run, database: KnownRuns = None, as_json: AsJson = False) -> None:
    """Show a run: its settings, its agents, what it came to, and the best it found.

    Of scores the lower is better; finalists, which were trained for longer, come first.
    """
    from autoprune.agent.housing.listed import find_listed

    with opened(database) as shared:
        content = _content(find_listed(run, shared))
    if as_json:
        echo(json.dumps(content, indent=2))
        return
    from autoprune.reporting.runs_terminal import print_run

    print_run(content)


@runs.command()
def rm(
    run: Run,
    database: KnownRuns = None,
    evaluations: Annotated[
        bool,
        typer.Option(
            "--evaluations",
            help="Remove what it scored too; else other runs on the same model and data go on "
            "using it.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even while agents work on it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a run from the database, and on a server its study. No folder is ever deleted.

    A run that lives in a file of its folder is only forgotten: it is there as before, and is
    listed again when somebody goes on with it.
    """
    from autoprune.agent.housing.listed import find_listed
    from autoprune.agent.housing.removal import remove_run

    with opened(database) as shared:
        found = find_listed(run, shared)
        folder = found.folder
        gone = remove_run(found, evaluations=evaluations, force=force)
    left = str(folder) if folder is not None and folder.is_dir() else None
    if as_json:
        told = {"removed": gone.run, "evaluations_removed": gone.evaluations, "folder_left": left}
        echo(json.dumps(told, indent=2))
        return
    count = gone.evaluations
    kept = "what it scored stays for other runs" if count is None else f"{count} evaluations too"
    echo(f"The run {gone.run!r} is removed from the database, {kept}.")
    if left is not None:
        echo(f"Its folder {left} is left as it is; delete it yourself if you want.")


@runs.command()
def status(
    run: Run,
    max_age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the last beat that still counts.")
    ] = "2m",
    database: KnownRuns = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether somebody works on a run: exit code 0 if so, 1 if not.

    For probes: of a folder only its heartbeat.json is read. Whoever searches writes it each 10 s,
    and takes it away at the end. For a name it is the beats in the database that count. A process
    of this machine that is gone works no more, however young its last beat is.
    """
    from autoprune.core.heartbeat import Heartbeat
    from autoprune.core.numbers import parse_duration

    most = parse_duration(max_age, "--max-age")
    folder = Path(run)
    beat = Heartbeat.of(folder)
    if beat is None and not folder.is_dir() and folder.name == run:
        beat = _beat_of(run, database)
    gone = beat is not None and beat.is_gone
    beats = beat is not None and not gone and beat.age <= most
    if as_json:
        age = None if beat is None else round(beat.age, 1)
        told = {"run": run, "beats": beats, "age": age, "process_is_gone": gone}
        echo(json.dumps(told | {"status": beat and dict(beat.status)}))
    else:
        echo(_told(run, beat, most))
    raise typer.Exit(0 if beats else 1)


def _told(run: str, beat: "Heartbeat | None", most: float) -> str:
    """Return whether somebody works on a run, in a sentence."""
    from autoprune.core.heartbeat import progress_text

    if beat is None:
        return f"Nobody works on {run}: it has no heartbeat."
    at, last = progress_text(beat.status), f"the last beat was {beat.age:.0f} s ago"
    if beat.is_gone:
        return (
            f"Nobody works on {run}: its process {beat.process} is gone from this machine. It was "
            f"at {at}; {last}."
        )
    if beat.age <= most:
        return f"{run} is at work ({at}); {last}."
    return f"{run} is silent, {most:g} s are allowed; {last}."


def _beat_of(name: str, database: str | None) -> "Heartbeat | None":
    """Return the last beat of a run of that name, None if it is not known."""
    from autoprune.agent.housing.listed import find_listed
    from autoprune.core.heartbeat import Heartbeat
    from autoprune.errors import ConfigError

    with opened(database) as shared:
        if shared is None:
            return None
        try:
            found = find_listed(name, shared)
        except ConfigError as err:
            echo(f"autoprune: {err}", err=True)
            return None
        if not found.on_server and found.folder is not None:
            return Heartbeat.of(found.folder)
        beats = sorted(map(_beat, found.living or found.agents), key=lambda one: one.at)
    return beats[-1] if beats else None


def _beat(agent: "Agent") -> "Heartbeat":
    from autoprune.core.heartbeat import Heartbeat

    number = int(agent.process.partition("@")[0])
    at = agent.beaten_at.timestamp()
    return Heartbeat(at, number, agent.status, agent.host, agent.process)


def _content(found: "ListedRun") -> dict[str, Any]:
    from autoprune.agent.housing.presence import place_of, seems_alive

    agents = [
        {
            "id": one.id,
            "place": place_of(one),
            "lives": seems_alive(one),
            "begun": one.started_at.isoformat(timespec="seconds"),
            "last_beat": one.beaten_at.isoformat(timespec="seconds"),
            "status": dict(one.status),
        }
        for one in found.agents
    ]
    yardstick = found.yardstick()
    best = [
        {
            "policy": one.policy.fingerprint,
            "outcome": one.outcome,
            "score": one.score,
            "loss": one.loss,
            "quality": None if one.quality is None else yardstick.shown(one.quality),
        }
        for one in found.best(_BEST)
    ]
    outcome = None if found.run.outcome is None else dict(found.run.outcome)
    more = {"settings": dict(found.run.config), "agents": agents, "outcome": outcome, "best": best}
    return found.to_dict() | more
