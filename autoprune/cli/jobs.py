"""``autoprune jobs``: searches that a scheduler starts, with nobody watching."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo

if TYPE_CHECKING:
    from autoprune.execution.jobs.files import JobFile
    from autoprune.execution.jobs.job import Job
    from autoprune.execution.jobs.schedulers import Place, Scheduler

File = Annotated[Path, typer.Argument(metavar="FILE", help="A search file (YAML).")]
Runner = Annotated[
    str,
    typer.Option(
        "--runner",
        metavar="NAME",
        help="slurm, kubernetes, ray-job, or file:PATH for a file of your own.",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="CRON",
        help="Start again and again: minute, hour, day of month, month, day of week, like "
        "'0 2 * * *' for two o'clock each night.",
    ),
]
Deadline = Annotated[
    str,
    typer.Option(
        "--deadline", metavar="TIME", help="Time that one start may take; the next goes on."
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the job; made from the run's folder if left out."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for the job's files.")
]

jobs = typer.Typer(
    no_args_is_help=True,
    help="Searches as jobs of Slurm, Kubernetes or Ray, once or on a schedule. See docs/jobs.md.",
)


@jobs.command()
def render(
    file: File,
    runner: Runner,
    schedule: Schedule = None,
    deadline: Deadline = "6h",
    name: Name = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write the files of a job: a batch script, manifests, or a request.

    Without --out they are printed, but a schedule of Slurm needs --out, a folder that the nodes
    see. No cluster is asked, and no tool of one is needed.
    """
    scheduler, job = _read(file, runner, schedule, deadline, name)
    files = scheduler.files(job, _place(job, file, runner, out))
    written = _written(files, out)
    if as_json:
        content = {"name": job.name, "files": {one.name: one.text for one in files}}
        echo(json.dumps(content | {"written": written}, indent=2))
    elif out is not None:
        echo("\n".join(written))
    else:
        echo("\n".join(one.text for one in files), nl=False)


@jobs.command()
def submit(
    file: File,
    runner: Runner,
    schedule: Schedule = None,
    deadline: Deadline = "6h",
    name: Name = None,
    out: Out = None,
    install: Annotated[
        bool,
        typer.Option("--install", help="Really write a schedule into your scrontab (Slurm)."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hand a job to its scheduler; one that is there already is not started twice."""
    scheduler, job = _read(file, runner, schedule, deadline, name)
    place = _place(job, file, runner, out, install)
    if dry_run:
        _tell_plan(scheduler, job, scheduler.files(job, place), as_json)
        return
    found = scheduler.submit(job, place)
    echo(json.dumps(found.to_dict(), indent=2) if as_json else found.told)


@jobs.command()
def status(file: File, runner: Runner, name: Name = None, as_json: AsJson = False) -> None:
    """Show what the scheduler knows of a job."""
    scheduler, job = _read(file, runner, None, "6h", name)
    found = scheduler.status(job.name)
    if as_json:
        echo(json.dumps([one.to_dict() for one in found], indent=2))
        return
    from autoprune.reporting.jobs_terminal import print_jobs

    print_jobs(job.name, found)


def _read(
    file: Path, runner: str, schedule: str | None, deadline: str, name: str | None
) -> tuple["Scheduler", "Job"]:
    from autoprune.execution.jobs.job import read_job
    from autoprune.execution.jobs.schedulers import scheduler_of
    from autoprune.execution.runners import JobRunner, load_runner_for

    found = load_runner_for(JobRunner, runner)
    job = read_job(
        file,
        name=name,
        deadline=deadline,
        schedule=schedule,
        search_runner=found.runner_inside,
        runs=found.runs,
    )
    if job.schedule is not None and job.seconds > job.schedule.shortest_gap().total_seconds():
        echo(
            f"autoprune: the deadline {job.deadline} is longer than the time between two firings "
            f"of {schedule!r}; those that find the one before still at work are left out.",
            err=True,
        )
    return scheduler_of(found), job


def _place(
    job: "Job", file: Path, runner: str, out: Path | None, install: bool = False
) -> "Place":
    from autoprune.execution.jobs.schedulers import Place

    options = ("--runner", runner, "--deadline", job.deadline, "--name", job.name)
    words = ("autoprune", "jobs", "submit", str(file), *options)
    return Place(folder=Path.cwd(), out=out, install=install, resubmit=words)


def _written(files: tuple["JobFile", ...], out: Path | None) -> list[str]:
    from autoprune.execution.jobs.files import write

    return [] if out is None else [str(path) for path in write(files, out)]


def _tell_plan(
    scheduler: "Scheduler", job: "Job", files: tuple["JobFile", ...], as_json: bool
) -> None:
    """Print the command and what it would be given."""
    words = scheduler.words(job)
    if as_json:
        content = {"command": list(words), "files": {one.name: one.text for one in files}}
        echo(json.dumps(content, indent=2))
        return
    echo(f"{shlex.join(words)} <<'EOF'\n{files[-1].text}EOF")
