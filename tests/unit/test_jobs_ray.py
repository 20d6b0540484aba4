"""Jobs on Ray: one key for one search, whoever submits it; a fake stands for the cluster."""

import json
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError

from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.ray_submission import (
    ray_files,
    ray_status,
    reach,
    request,
    submit_ray,
)
from autoprune.execution.jobs.schedule import Schedule
from autoprune.execution.runners.ray_job import RayJobRunner

FOLDER = Path("/project")
NIGHTLY = Schedule.parse("0 2 * * *")


class State(str):
    """A state as Ray's, a string that knows whether it is the last."""

    def is_terminal(self) -> bool:
        return self in ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass
class Info:
    submission_id: str
    status: State
    metadata: dict[str, str] | None = None
    start_time: int = 1_700_000_000_000
    message: str = ""


@dataclass
class Cluster:
    """What the server of a cluster does: it keeps jobs by key and refuses a key it has."""

    jobs: dict[str, Info] = field(default_factory=dict)
    hidden: bool = False
    """Whether jobs are not listed yet: somebody else submits at this very moment."""

    def submit_job(self, *, submission_id: str, metadata: dict[str, str], **_: Any) -> str:
        if submission_id in self.jobs:
            raise RuntimeError(f"Request failed: submission_id {submission_id} already exists.")
        self.jobs[submission_id] = Info(submission_id, State("PENDING"), metadata)
        return submission_id

    def list_jobs(self) -> list[Info]:
        return [] if self.hidden else list(self.jobs.values())

    def get_job_status(self, key: str) -> State:
        return self.jobs[key].status


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda address: made)
    return made


def job(**changes: Any) -> Job:
    given: dict[str, Any] = {
        "name": "n",
        "file": Path("a b.yaml"),
        "run": Path("/runs/n"),
        "moved": True,
    }
    return Job(**(given | changes))


def runner(**changes: Any) -> RayJobRunner:
    return RayJobRunner.model_validate({"kind": "ray-job"} | changes)


def test_a_job_that_runs_or_is_done_is_not_submitted_again(cluster: Cluster) -> None:
    first = submit_ray(runner(), job(), FOLDER)
    assert first.new
    again = submit_ray(runner(), job(), Path("/elsewhere"))
    assert (again.id, again.new) == (first.id, False)
    assert "runs already (PENDING)" in again.told
    cluster.jobs[first.id].status = State("SUCCEEDED")
    told = submit_ray(runner(), job(), FOLDER).told
    assert "is done already" in told
    assert "another --name, or delete the old job: ray job delete " in told
    assert len(cluster.jobs) == 1


def test_a_cluster_that_leaves_once_it_has_refused_a_key_is_no_traceback(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(key: str) -> State:
        raise RuntimeError(f"Failed to connect to Ray about {key}.")

    submit_ray(runner(), job(), FOLDER)
    cluster.hidden = True
    monkeypatch.setattr(cluster, "get_job_status", gone)
    with pytest.raises(InfrastructureError, match="No Ray cluster answers"):
        submit_ray(runner(), job(), FOLDER)


def test_one_that_failed_or_was_stopped_goes_on_under_the_next_key(cluster: Cluster) -> None:
    keys = []
    for state in ("FAILED", "STOPPED") * 6:
        keys.append(submit_ray(runner(), job(), FOLDER).id)
        cluster.jobs[keys[-1]].status = State(state)
    assert [key.rpartition("-")[2] for key in keys] == [str(n) for n in range(1, 13)]
    assert len({key.rpartition("-")[0] for key in keys}) == 1


def test_of_two_that_submit_at_once_one_does(cluster: Cluster) -> None:
    first = submit_ray(runner(), job(), FOLDER)
    cluster.hidden = True
    second = submit_ray(runner(), job(), FOLDER)
    assert (second.id, second.new) == (first.id, False)


@pytest.mark.parametrize(
    "changes", [{"deadline": "7h"}, {"name": "m"}, {"file": Path("b.yaml")}, {"run": Path("/r")}]
)
def test_another_job_has_another_key(changes: dict[str, Any]) -> None:
    one, other = request(runner(), job(), FOLDER), request(runner(), job(**changes), FOLDER)
    assert one["submission_id"] != other["submission_id"]
    assert request(runner(cpus=2), job(), FOLDER)["submission_id"] != one["submission_id"]


def test_jobs_of_other_names_are_not_shown(cluster: Cluster) -> None:
    submit_ray(runner(), job(), FOLDER)
    cluster.jobs["x"] = Info("x", State("FAILED"))
    (shown,) = ray_status(runner(), "n")
    assert (shown.state, shown.since) == ("PENDING", "2023-11-14T22:13:20+00:00")
    assert ray_status(runner(), "m") == []


def test_a_refusal_of_another_kind_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> str:
        raise RuntimeError("Request failed\nno space left on device")

    monkeypatch.setattr(cluster, "submit_job", refuse)
    with pytest.raises(InfrastructureError, match="refuses the job: no space left on device"):
        submit_ray(runner(), job(), FOLDER)


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        (RuntimeError("needs ray[default]"), ConfigError, r"autoprune\[ray-jobs\]"),
        (ConnectionError("refused"), InfrastructureError, "No Ray cluster answers at http://h:1"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_apart_from_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, error: type[Exception], message: str
) -> None:
    def fail(address: str) -> None:
        raise raised

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", fail)
    with pytest.raises(error, match=message):
        submit_ray(runner(address="http://h:1"), job(), FOLDER)


def test_a_cluster_that_asks_for_a_token_is_told_whatever_is_asked_of_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AuthenticationError("Unauthorized: Missing authentication token")

    monkeypatch.setattr(cluster, "list_jobs", refuse)
    for ask in (lambda: submit_ray(runner(), job(), FOLDER), lambda: ray_status(runner(), "n")):
        with pytest.raises(InfrastructureError, match=r"Missing .* RAY_AUTH_MODE=token"):
            ask()
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", refuse)
    with pytest.raises(InfrastructureError, match=r"RAY_AUTH_MODE=token"):
        reach(runner())


def test_ray_has_no_schedule_but_any_crontab_has(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="Ray has no schedule of its own"):
        submit_ray(runner(), job(schedule=NIGHTLY), FOLDER)
    words = ("autoprune", "jobs", "submit", "50% off.yaml")
    (file,) = ray_files(runner(), job(schedule=NIGHTLY), Path("/my 1%"), words)
    line = file.text.splitlines()[-1]
    assert line.startswith("0 2 * * * ")
    command = line.removeprefix("0 2 * * * ").replace("\\%", "%")  # as cron does
    assert command.count("%") == line.count("\\%") == 2
    assert shlex.split(command) == ["cd", "--", "/my 1%", "&&", *words]


@pytest.mark.parametrize("changes", [{"run": Path("runs/n")}, {"file": Path("/a/search.yaml")}])
def test_a_run_that_would_be_lost_with_the_copy_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="lost with the job"):
        request(runner(), job(**changes), FOLDER)
    assert request(runner(upload=False), job(**changes), FOLDER)["runtime_env"] == {"env_vars": {}}


def test_secrets_are_read_on_the_cluster_and_a_missing_one_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "the url").write_text("postgresql://me:hunter2@h/d")
    made = runner(secret_files={"DB_URL": str(tmp_path / "the url")}, upload=False, workdir="/")
    wanted = job()
    (file,) = ray_files(made, wanted, FOLDER, ())
    assert "hunter2" not in file.text
    shell = json.loads(file.text)["entrypoint"]
    assert shell.endswith(shlex.join(wanted.command))
    shell = shell.replace("exec autoprune", "exec printf '%s\\n' \"$DB_URL\"")
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "postgresql://me:hunter2@h/d"
    (tmp_path / "the url").unlink()
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == ""
