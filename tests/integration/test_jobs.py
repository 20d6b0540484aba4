"""Rendered jobs run for real: the batch script, and job submission on a real Ray."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from autoprune.cli.main import app, main
from autoprune.execution.jobs.job import Job

SUBMISSION = Path(__file__).with_name("ray_submission.sh")
# Runs this checkout's autoprune
SHIM = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from autoprune.cli.main import main
main()
"""
SRUN = 'while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'
SCONTROL = 'if [ "$1" = show ]; then echo 127.0.0.1; else echo "$*" >>"$OUT/scontrol"; fi\n'


def options_of(*names: str) -> set[str]:
    command: Any = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]
    return {option for one in command.params for option in one.opts}


def test_autoprune_knows_every_option_of_the_commands() -> None:
    job = Job(name="a", file=Path("f"), run=Path("r"), search_runner="x", moved=True)
    assert options_in(job.command) - options_of("search") == set()
    assert options_in(job.agent) - options_of("agent", "join") == set()


def options_in(command: tuple[str, ...]) -> set[str]:
    return {word for word in command if word.startswith("--")}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a folder with autoprune, and stubs for the tools of Slurm."""
    folder = tmp_path / "tools"
    folder.mkdir()
    texts = {
        "autoprune": SHIM,
        "srun": f"#!/bin/bash\n{SRUN}",
        "scontrol": f"#!/bin/bash\n{SCONTROL}",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def environment(tools: Path, out: Path, **changes: str) -> dict[str, str]:
    slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node1", "TMPDIR": str(out)}
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | slurm | {"PATH": path, "OUT": str(out)} | changes


@contextmanager
def started(command: list[str | Path], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a group of its own, of which nothing is left in the end."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdout=quiet, start_new_session=True) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def rendered(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what ``autoprune jobs render`` prints."""
    before = sys.argv
    sys.argv = ["autoprune", "jobs", "render", *words]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert not ended.value.code
    return capsys.readouterr().out


def test_a_batch_script_searches_is_stopped_by_its_time_and_goes_on(
    project: Path, tmp_path: Path, tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(rendered(capsys, "search.yaml", "--runner", "slurm", "--deadline", "5m"))
    env = environment(tools, tmp_path)
    with started(["bash", script], env) as running:
        until = time.monotonic() + 120
        while not list((project / "run").glob("*.db*")):  # the search has begun
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGUSR1)
        code = running.wait(timeout=60)
    assert code == 3
    assert (tmp_path / "scontrol").read_text() == "requeue 42\n"
    again = env | {"SLURM_RESTART_COUNT": "1"}
    done = subprocess.run(["bash", script], env=again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["checks"]["budget_met"]
    assert (tmp_path / "scontrol").read_text() == "requeue 42\n"
    third = subprocess.run(["bash", script], env=again, capture_output=True, text=True)
    assert third.returncode == 0  # finished: the same command returns what there is
    assert json.loads(third.stdout)["pruned"] == printed["pruned"]


def test_wrong_input_ends_a_batch_script_for_good(
    project: Path, tmp_path: Path, tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = rendered(capsys, "search.yaml", "--runner", "slurm")
    (project / "search.yaml").write_text("model: code.py:net\n")
    env = environment(tools, tmp_path)
    done = subprocess.run(["bash"], input=text, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'data' is missing" in done.stderr
    assert not (tmp_path / "scontrol").exists()


@pytest.fixture
def apart() -> list[str]:
    """Return what runs a command in a network and with processes of its own.

    Ray listens on all interfaces, and when it stops it stops every Ray that it sees.
    """
    for flags in ("-npf", "-rnpf"):
        command = ["unshare", flags, "--mount-proc", "--kill-child", "sh", "-c"]
        command += ['ip link set lo up && exec "$@"', "sh"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    if os.environ.get("CI"):
        pytest.fail("no namespaces can be had for Ray here")
    pytest.skip("no namespaces can be had for Ray here")


@pytest.fixture
def home(ray_turn: None) -> Iterator[str]:
    """Return a folder with a short name: sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield folder


def of_ray(home: str) -> dict[str, str]:
    return {
        **{"HOME": home, "RAY_TMPDIR": home, "RAY_USAGE_STATS_ENABLED": "0"},
        "RAY_raylet_start_wait_time_s": "120",  # where others use the machine too
    }


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("aiohttp_cors") is None and "CI" not in os.environ,
    reason="job submission needs ray[default]",
)
def test_ray_runs_a_job_once_however_often_it_is_submitted(
    project: Path, tmp_path: Path, tools: Path, home: str, apart: list[str]
) -> None:
    (project / "ray.yaml").write_text(
        f"kind: ray-job\naddress: http://127.0.0.1:8265\nruns: {tmp_path}/runs\n"
        f"secret_files: {{AUTOPRUNE_DATABASE: {tmp_path}/database}}\n"
    )
    (tmp_path / "database").write_text(f"{tmp_path}/shared.db")
    env = environment(tools, tmp_path, **of_ray(home))
    done = subprocess.run(
        [*apart, "bash", SUBMISSION], env=env, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, shown, third, broken, anew, nobody = done.stdout.strip().split("\n---\n")
    key = json.loads(first)["id"]
    assert json.loads(first)["new"]
    assert json.loads(second) | {"id": key, "new": False} == json.loads(second)
    assert "runs already" in json.loads(second)["told"]
    (state,) = json.loads(shown)
    assert (state["id"], state["state"]) == (key, "SUCCEEDED"), state
    assert "is done already" in json.loads(third)["told"]
    assert (tmp_path / "runs" / "autoprune-run" / "result.json").exists()
    assert (tmp_path / "shared.db").exists()  # the secret came from its file
    assert json.loads(broken)["id"].endswith("-1")
    assert json.loads(anew)["id"] == json.loads(broken)["id"][:-1] + "2"
    assert "No Ray cluster answers" in nobody
    assert nobody.endswith("exit code 4")


@pytest.mark.slow
def test_several_nodes_run_a_real_ray_which_ends_with_the_search(
    project: Path,
    tmp_path: Path,
    tools: Path,
    home: str,
    apart: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "two.yaml").write_text("kind: slurm\nnodes: 2\nacross: ray\ncpus: 1\n")
    text = rendered(capsys, "search.yaml", "--runner", "file:two.yaml")
    (tmp_path / "job.sh").write_text(text.replace("--min-nodes 2", "--min-nodes 1"))
    (tools / "autoprune").write_text(  # Ray is there and takes the token, then time is over
        "#!/bin/bash\ntrap 'exit 3' TERM\n"
        'until ray status >"$OUT/status" && grep -q CPU "$OUT/status"; do sleep 1; done\n'
        'touch "$OUT/ready"; while :; do sleep 0.1; done\n'
    )
    env = environment(tools, tmp_path, **of_ray(home))
    with started([*apart, "bash", tmp_path / "job.sh"], env) as running:
        until = time.monotonic() + 240
        while not (tmp_path / "ready").exists():
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        inside = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(inside[0]), signal.SIGUSR1)
        assert running.wait(timeout=120) == 3
    assert "1.0 CPU" in (tmp_path / "status").read_text()
    assert (tmp_path / "scontrol").read_text() == "requeue 42\n"
