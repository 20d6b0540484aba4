"""``autoprune runners``: which there are, what they say, and what they lack here."""

import builtins
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprune._resources import names
from autoprune.core.cores import usable_cores
from autoprune.errors import ConfigError, InfrastructureError
from autoprune.execution.runners import load_runner

Run = Callable[..., tuple[int, str, str]]


def write(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return f"file:{folder / 'mine.yaml'}"


def lacking(run_autoprune: Run, runner: str) -> list[str]:
    code, out, _ = run_autoprune("runners", "check", runner, "--json")
    told: dict[str, Any] = json.loads(out)
    assert told["usable"] == (code == 0) == (not told["missing"])
    found: list[str] = told["missing"]
    return found


def test_every_shipped_runner_is_listed_with_a_sentence(run_autoprune: Run) -> None:
    code, out, _ = run_autoprune("runners", "list", "--json")
    assert code == 0
    found = {one["name"]: one for one in json.loads(out)}
    assert list(found) == names("runners", ".yaml")
    assert found["ray"]["kind"] == "ray"
    assert all(one["description"].endswith(".") for one in found.values())
    text = run_autoprune("runners", "list")[1]
    assert all(one in text for one in found)


def test_a_runner_is_shown_as_written_and_as_understood(run_autoprune: Run) -> None:
    text = run_autoprune("runners", "show", "local")[1]
    assert text.startswith("# Processes on this machine.")
    assert json.loads(run_autoprune("runners", "show", "local", "--json")[1])["kind"] == "local"
    code, _, err = run_autoprune("runners", "show", "locl")
    assert (code, "Did you mean 'local'?" in err) == (2, True)


def test_a_wrong_file_is_wrong_input(run_autoprune: Run, tmp_path: Path) -> None:
    code, _, err = run_autoprune("runners", "check", write(tmp_path, "kind: local\nthreds: 1\n"))
    assert (code, "threds" in err) == (2, True)


def test_what_this_machine_has_is_usable(run_autoprune: Run, tmp_path: Path) -> None:
    assert lacking(run_autoprune, write(tmp_path, "kind: local\ndevice: cpu\nthreads: 1\n")) == []
    assert "can be used here" in run_autoprune("runners", "check", "local")[1]


def test_a_gpu_that_is_not_there_is_missing(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (told,) = lacking(run_autoprune, write(tmp_path, "kind: local\ndevice: cuda\n"))
    assert "PyTorch sees 0 GPUs" in told


def test_a_scheduler_that_does_not_exist_is_missing(run_autoprune: Run, tmp_path: Path) -> None:
    (told,) = lacking(run_autoprune, write(tmp_path, "kind: ray-tune\nscheduler: ahsa\n"))
    assert "Unknown scheduler 'ahsa'. Did you mean 'asha'?" in told
    assert lacking(run_autoprune, "ray-tune") == []


def test_more_workers_than_cores_are_told(run_autoprune: Run, tmp_path: Path) -> None:
    count = usable_cores() + 1
    (told,) = lacking(run_autoprune, write(tmp_path, f"kind: local\nworkers: {count}\n"))
    assert f"need {count} cores, and {usable_cores()} are there" in told


def test_a_worker_that_no_cluster_started_here_has_room_for_is_told(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for text, said in (
        (f"threads: {usable_cores() + 1}\n", f"needs {usable_cores() + 1} CPU, and the cluster"),
        ("device: cpu\ngpus: 1\n", "needs 1 GPU, and the cluster has 0. Lower what"),
    ):
        runner = write(tmp_path, f"kind: ray\n{text}")
        (told,) = lacking(run_autoprune, runner)
        assert said in told
        with pytest.raises(ConfigError, match="A worker needs"), load_runner(runner).applied():
            pass
    runner = write(tmp_path, f"kind: ray\nworkers: 1\nthreads: {usable_cores() + 1}\n")
    assert lacking(run_autoprune, runner) == [], "a number that is given gets its CPUs"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "Ray cannot start: The current node timed out.*goes on later"),
        ("address: h:1\n", "h:1"),
    ],
)
def test_a_ray_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    def init(**settings: Any) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray raises it

    monkeypatch.setattr(pytest.importorskip("ray"), "init", init)
    runner = load_runner(write(tmp_path, f"kind: ray\nworkers: 1\ndevice: cpu\n{address}"))
    with pytest.raises(InfrastructureError, match=said), runner.applied():
        pass


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        ("kind: slurm\n", ("sbatch", "squeue", "sacct")),
        ("kind: kubernetes\nimage: mine:1\n", ("kubectl",)),
    ],
)
def test_tools_of_schedulers_are_looked_for(
    run_autoprune: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    tools: tuple[str, ...],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runner = write(tmp_path, text)
    (told,) = lacking(run_autoprune, runner)
    assert f"Not found here: {', '.join(tools)}." in told
    for name in tools:
        (tmp_path / name).write_text("#!/bin/sh\n")
        os.chmod(tmp_path / name, 0o755)
    assert lacking(run_autoprune, runner) == []


KUBECTL = """#!/bin/sh
for _ in 1 2 3; do
  echo 'E1127 04:01:02.000001  77 memcache.go:265] "Unhandled Error" err="dial tcp"' >&2
done
echo 'The connection to the server localhost:8080 was refused - is it the right host?' >&2
exit 1
"""


def test_a_cluster_of_kubernetes_that_does_not_answer_is_told(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (told,) = lacking(run_autoprune, write(tmp_path, "kind: kubernetes\nimage: mine:1\n"))
    assert "exit code 1: The connection to the server localhost:8080 was refused" in told
    assert "Try 'kubectl auth can-i create jobs.batch" in told
    assert "memcache" not in told


def test_ray_is_looked_for(
    run_autoprune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_ray(name: str, *args: Any, **words: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"No module named {name!r}", name="ray")
        return real(name, *args, **words)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    (told,) = lacking(run_autoprune, write(tmp_path, "kind: ray\n"))
    assert "pip install 'autoprune[ray]'" in told


def test_a_cluster_that_does_not_answer_is_told(run_autoprune: Run, tmp_path: Path) -> None:
    pytest.importorskip("virtualenv", reason="ray[default], which brings it, is not installed")
    runner = write(tmp_path, "kind: ray-job\naddress: http://127.0.0.1:1\n")
    (told,) = lacking(run_autoprune, runner)
    assert "No Ray cluster answers at http://127.0.0.1:1" in told
