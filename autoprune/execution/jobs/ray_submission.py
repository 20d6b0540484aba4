"""Jobs on a Ray cluster that is there already, submitted once however often it is tried."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.core.fingerprint import fingerprint
from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.jobs.files import JobFile
from autoprune.execution.jobs.job import Job, require_name
from autoprune.execution.jobs.status import JobStatus, Submitted, again
from autoprune.execution.jobs.templates import quoted_path, render
from autoprune.execution.runners.ray_job import RayJobRunner

if TYPE_CHECKING:
    from ray.job_submission import JobStatus as JobStatusOfRay
    from ray.job_submission import JobSubmissionClient

_DIGITS = 12  # of a fingerprint in a key
_INSTALL = "Submitting to Ray needs ray[default]. Install it: pip install 'autoprune[ray-jobs]'"
_REPEATED = "already exists"  # in what Ray answers to a key that it knows


def ray_files(
    runner: RayJobRunner, job: Job, folder: Path, words: tuple[str, ...]
) -> tuple[JobFile, ...]:
    """Return the request as JSON, or on a schedule a line for the ``crontab`` of any machine.

    Args:
        runner: The cluster.
        job: The job.
        folder: Where the command runs that submits it, absolute.
        words: The command that submits it.

    Raises:
        ConfigError: If the job's name or the run's folder cannot be used.
    """
    asked = request(runner, job, folder)
    if job.schedule is None:
        return (JobFile(f"{job.name}.json", json.dumps(asked, indent=2) + "\n"),)
    text = render("crontab.j2", job=job, folder=str(folder), command=words)
    return (JobFile(f"{job.name}.crontab", text),)


def request(runner: RayJobRunner, job: Job, folder: Path) -> dict[str, Any]:
    """Return what Ray is asked for; its key is the same for the same job, and ends in ``-1``.

    Raises:
        ConfigError: If the job's name or the run's folder cannot be used.
    """
    require_name(job.name, r"[A-Za-z0-9][\w.-]*", 64, "letters, digits, '.', '_' and '-'")
    if runner.upload and (job.file.is_absolute() or not job.run.is_absolute()):
        raise ConfigError(
            "The folder you submit from is sent to the cluster as a copy, which is lost with the "
            "job. Name the search file relative to it, and in the runner file an absolute folder "
            "'runs' on a storage that the cluster's nodes share; or set 'upload: false'. Got the "
            f"search file {str(job.file)!r} and a run in {str(job.run)!r}."
        )
    environment: dict[str, Any] = {"env_vars": dict(runner.env)}
    asked = {
        "entrypoint": " && ".join(_entrypoint(runner, job)),
        "runtime_env": environment,
        "metadata": {"autoprune": job.name},
        "entrypoint_num_cpus": runner.cpus,
        "entrypoint_num_gpus": runner.gpus,
    }
    key = fingerprint([job.name, asked])[:_DIGITS]  # the same from whichever folder
    if runner.upload:
        environment |= {"working_dir": str(folder), "excludes": list(runner.exclude)}
    return asked | {"submission_id": f"{job.name}-{key}-1"}


def submit_ray(runner: RayJobRunner, job: Job, folder: Path) -> Submitted:
    """Submit the job, unless it runs or is done; one that failed or was stopped goes on.

    Ray refuses a key that it knows, so of several that submit at once one succeeds, and the others
    find its job running.

    Raises:
        ConfigError: If something given cannot be used, or Ray is missing.
        InfrastructureError: If the cluster cannot be reached, or refuses.
    """
    if job.schedule is not None:
        raise ConfigError(
            "Ray has no schedule of its own. Leave --schedule out here, and put the line that "
            "autoprune jobs render gives into the crontab of any machine."
        )
    client = _client(runner)
    asked = request(runner, job, folder)
    with _answering(runner):
        attempt, state = _last(client, asked["submission_id"])
    if state is not None and (not state.is_terminal() or state == "SUCCEEDED"):
        return _there_already(asked["submission_id"], attempt, state)
    asked["submission_id"] = key = _key(asked["submission_id"], attempt + 1)
    try:
        client.submit_job(**asked)
    except Exception as err:  # Ray raises several kinds for what its server answers
        if _REPEATED not in str(err):
            raise InfrastructureError(f"Ray refuses the job: {_line(err)}") from err
        with _answering(runner):
            return _there_already(key, attempt + 1, client.get_job_status(key))
    return Submitted(key, f"Submitted as {key}.")


def _last(client: "JobSubmissionClient", first: str) -> tuple[int, "JobStatusOfRay | None"]:
    """Return the number and state of the last attempt that the cluster remembers, 0 if none."""
    start = _key(first, "")
    found = [
        (int(one.submission_id.removeprefix(start)), one.status)
        for one in client.list_jobs()
        if one.submission_id and re.fullmatch(re.escape(start) + r"\d+", one.submission_id)
    ]
    return max(found, key=lambda one: one[0], default=(0, None))


def _key(first: str, attempt: int | str) -> str:
    return f"{first.rpartition('-')[0]}-{attempt}"


def _there_already(first: str, attempt: int, state: "JobStatusOfRay") -> Submitted:
    key = _key(first, attempt)
    if state != "SUCCEEDED":
        return Submitted(key, f"{key} runs already ({state}); nothing was submitted.", new=False)
    told = f"{key} is done already; nothing was submitted. {again(f'ray job delete {key}')}"
    return Submitted(key, told, new=False)


def ray_status(runner: RayJobRunner, name: str) -> list[JobStatus]:
    """Return the jobs of a name that the cluster remembers, the newest first.

    Raises:
        ConfigError: If Ray is missing.
        InfrastructureError: If the cluster cannot be reached.
    """
    client = _client(runner)
    with _answering(runner):
        known = client.list_jobs()
    ours = [one for one in known if (one.metadata or {}).get("autoprune") == name]
    return [
        JobStatus(
            str(one.submission_id),
            "Ray job",
            str(one.status),
            _time(one.start_time),
            " ".join((one.message or "").split()),
        )
        for one in sorted(ours, key=lambda one: one.start_time or 0, reverse=True)
    ]


def _entrypoint(runner: RayJobRunner, job: Job) -> Iterator[str]:
    """Yield shell commands, each to be run if the one before succeeded."""
    if not runner.upload and runner.workdir is not None:
        yield f"cd -- {shlex.quote(runner.workdir)}"
    for name, file in runner.secret_files.items():
        yield f'{name}="$(cat -- {quoted_path(file)})"'
        yield f"export {name}"
    yield f"exec {shlex.join(job.command)}"


def reach(runner: RayJobRunner) -> None:
    """Ask a cluster whether it answers.

    Raises:
        ConfigError: If Ray's job submission is not installed.
        InfrastructureError: If the cluster does not answer.
    """
    _client(runner)


def _client(runner: RayJobRunner) -> "JobSubmissionClient":
    try:
        from ray.job_submission import JobSubmissionClient
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] != "ray":
            raise
        raise ConfigError(_INSTALL) from err
    with _answering(runner):
        return JobSubmissionClient(runner.address)


@contextmanager
def _answering(runner: RayJobRunner) -> Iterator[None]:
    """Say what is wrong with a cluster that does not answer as asked.

    Raises:
        ConfigError: If Ray's job submission is not installed.
        InfrastructureError: If the cluster does not answer, or refuses to.
    """
    from ray.exceptions import RayError

    try:
        yield
    except (RuntimeError, OSError, RayError) as err:
        if "ray[default]" in str(err):
            raise ConfigError(_INSTALL) from err
        raise InfrastructureError(
            f"No Ray cluster answers at {runner.address}: {_line(err)} Check the key 'address'. A "
            "cluster asks for a token where ~/.ray/auth_token was there when it began (Ray writes "
            "that file as soon as it starts a cluster by itself): set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
        ) from err


def _time(milliseconds: int | None) -> str:
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _line(err: Exception) -> str:
    return next((line for line in reversed(str(err).splitlines()) if line.strip()), repr(err))
