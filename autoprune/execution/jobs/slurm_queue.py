"""The queue of Slurm: submit a job, install a schedule, ask what became of it."""

import re
from collections.abc import Iterator
from pathlib import Path

from autoprune.errors import InfrastructureError
from autoprune.execution.jobs.files import write
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.slurm import slurm_files
from autoprune.execution.jobs.status import JobStatus, Submitted
from autoprune.execution.jobs.tools import run_tool
from autoprune.execution.runners.slurm import SlurmRunner

SUBMIT = ("sbatch", "--parsable")
ADD = ("sh", "-c", "{ scrontab -l; cat; } | scrontab -")
"""What adds lines to a ``scrontab``, as a person would give it."""
_INSTALL = ("scrontab", "-")
_QUEUE = ("squeue", "--me", "--noheader", "--format=%i|%T|%M|%r")
_ENDED = ("sacct", "--noheader", "--parsable2", "--allocations", "--starttime=now-7days")
_LIST = ("scrontab", "-l")


def submit_slurm(
    runner: SlurmRunner, job: Job, folder: Path, out: Path | None, *, install: bool
) -> Submitted:
    """Submit the job once, or write its schedule into the user's ``scrontab``.

    Args:
        runner: The cluster.
        job: The job.
        folder: Where the job runs.
        out: Where the script is written; only needed on a schedule.
        install: Whether the schedule is really written; without, it is only told.

    Raises:
        ConfigError: If something given cannot be used, or a tool of Slurm is missing.
        InfrastructureError: If Slurm refuses.
    """
    files = slurm_files(runner, job, folder, out)
    if job.schedule is None or out is None:
        number = run_tool(SUBMIT, files[0].text).strip().partition(";")[0]
        return Submitted(number, f"Submitted as job {number}.")
    entry = files[1].text
    if not install:
        told = f"Nothing was changed. With --install this goes into your scrontab:\n{entry}"
        return Submitted(job.name, told.rstrip(), new=False)
    before = _crontab()
    write(files, out)
    run_tool(_INSTALL, with_entry(before, job.name, entry))
    return Submitted(job.name, f"Your scrontab starts {out / files[0].name} at {job.schedule!s}.")


def with_entry(crontab: str, name: str, entry: str) -> str:
    """Return a crontab with the entry of a job in place of its older one, the rest as it was."""
    begin, end = (re.escape(f"# autoprune {name}: {word}\n") for word in ("begin", "end"))
    kept = re.sub(f"^{begin}.*?^{end}", "", crontab, flags=re.MULTILINE | re.DOTALL)
    return f"{kept.rstrip()}\n\n{entry}".lstrip()


def slurm_status(name: str) -> list[JobStatus]:
    """Return the jobs of a name that wait, run, or ended within seven days.

    Raises:
        ConfigError: If ``squeue`` is missing.
        InfrastructureError: If Slurm does not answer.
    """
    found = {}
    for number, state, taken, reason in _rows(run_tool((*_QUEUE, f"--name={name}"))):
        found[number] = JobStatus(number, "job", state, taken, reason)
    try:
        ended = run_tool((*_ENDED, f"--name={name}", "--format=JobID,State,Elapsed,ExitCode"))
    except InfrastructureError:  # a cluster without accounting knows only what is in the queue
        ended = ""
    for number, state, taken, code in _rows(ended):
        told = f"exit code {code.partition(':')[0]}"
        found.setdefault(number, JobStatus(number, "job", state, taken, told))
    return list(found.values())


def _rows(text: str) -> Iterator[list[str]]:
    """Yield the four columns of each job; what a site's own wrapper says beside them is none."""
    lines = (line.split("|", 3) for line in text.splitlines())
    return (columns for columns in lines if len(columns) == 4)


def _crontab() -> str:
    """Return the user's ``scrontab``, empty if there is none."""
    try:
        return run_tool(_LIST)
    except InfrastructureError as err:
        if "no crontab" in str(err).lower():
            return ""
        raise
