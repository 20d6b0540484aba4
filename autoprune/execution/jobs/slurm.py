"""Jobs of Slurm: a batch script, and lines of ``scrontab`` for a schedule."""

import re
import shlex
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from autoprune.errors import ConfigError
from autoprune.execution.jobs.files import JobFile
from autoprune.execution.jobs.job import Job, require_name
from autoprune.execution.jobs.templates import render
from autoprune.execution.runners.slurm import SlurmRunner

_ONE_JOB = ("dependency", "requeue", "open-mode")
"""Options that ``scrontab`` has no use for: it starts no job before the last one has ended."""


def slurm_files(
    runner: SlurmRunner, job: Job, folder: Path, out: Path | None
) -> tuple[JobFile, ...]:
    """Return the batch script, and on a schedule the lines of ``scrontab`` that start it.

    Args:
        runner: The cluster.
        job: The job.
        folder: Where the job runs, absolute.
        out: Where the script will lie; only needed on a schedule.

    Raises:
        ConfigError: If a name or folder cannot stand in an option of Slurm, or ``out`` is missing.
    """
    require_name(
        job.name,
        r"[A-Za-z0-9][A-Za-z0-9._-]*",
        64,
        "letters, digits, '.', '_' and '-', beginning with a letter or digit",
    )
    across = runner.across if runner.nodes > 1 else "none"
    options = dict(_options(runner, job, folder))
    script = render(
        "slurm.sh.j2",
        job=job,
        runner=runner,
        folder=str(folder),
        options=_lines(options),
        across=across,
        by_rank=_by_rank(job),
    )
    files = (JobFile(f"{job.name}.sh", script, runs=True),)
    if job.schedule is None:
        return files
    if out is None:
        raise ConfigError(
            "--schedule on Slurm needs --out DIR: scrontab starts a script, which must lie in a "
            "folder that the cluster's nodes see."
        )
    kept = {name: value for name, value in options.items() if name not in _ONE_JOB}
    path = str(out.absolute() / files[0].name)
    crontab = render("scrontab.j2", job=job, options=_lines(kept), script=path)
    return (*files, JobFile(f"{job.name}.scrontab", crontab))


def _options(runner: SlurmRunner, job: Job, folder: Path) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"/[\w./+=@,-]*", str(folder)):
        raise ConfigError(
            f"Slurm's options cannot hold the folder {str(folder)!r}: it must be an absolute path "
            "of letters, digits and ./+=@,_-. Run the command from another folder."
        )
    yield "job-name", job.name
    yield "nodes", str(runner.nodes)
    yield "ntasks-per-node", "1"
    yield "cpus-per-task", str(runner.cpus)
    yield "mem", runner.memory
    if runner.gpus:
        yield "gpus-per-node", str(runner.gpus)
    yield "time", limit(job.seconds + runner.margin)
    yield "signal", f"B:USR1@{ceil(runner.grace)}"
    yield "chdir", str(folder)
    yield "output", runner.logs
    for name in ("partition", "account", "qos", "constraint"):
        value = getattr(runner, name)
        if value is not None:
            yield name, value
    if runner.on_ray:
        yield "exclusive", ""  # Ray's end ends every Ray of the user on a node
    yield "dependency", "singleton"
    yield "requeue", ""
    yield "open-mode", "append"


def limit(seconds: float) -> str:
    """Return a time limit as Slurm writes it, ``DAYS-HH:MM:SS``; seconds are rounded up."""
    minutes, left = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{left:02}"


def _lines(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]


def _by_rank(job: Job) -> str:
    search, agent = shlex.join(job.command), shlex.join(job.agent)
    return f'if [ "$SLURM_PROCID" -eq 0 ]; then exec {search}; else exec {agent}; fi'
