"""Batch scripts of Slurm: options that sbatch knows, a shell that does what is meant."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprune.errors import ConfigError
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.schedule import Schedule
from autoprune.execution.jobs.slurm import limit, slurm_files
from autoprune.execution.jobs.slurm_queue import with_entry
from autoprune.execution.runners.slurm import SlurmRunner

# What sbatch(1) knows, of what is used here, and the form of the value
OPTIONS = {
    "account": r"[\w.-]+",
    "chdir": r"/\S*",
    "constraint": r"\S+",
    "cpus-per-task": r"[1-9]\d*",
    "dependency": r"singleton",
    "exclusive": r"",
    "gpus-per-node": r"[1-9]\d*",
    "job-name": r"[\w.-]+",
    "mem": r"\d+[KMGT]?",
    "nodes": r"[1-9]\d*",
    "ntasks-per-node": r"1",
    "open-mode": r"append|truncate",
    "output": r"\S+",
    "partition": r"[\w.,-]+",
    "qos": r"[\w.-]+",
    "requeue": r"",
    "signal": r"B:(USR1|TERM)@\d{1,5}",
    "time": r"\d+-\d\d:[0-5]\d:[0-5]\d",
}
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
NIGHTLY = Schedule.parse("0 2 * * *")


def job(**changes: Any) -> Job:
    given: dict[str, Any] = {
        "name": "nightly",
        "file": Path("search.yaml"),
        "run": Path("runs/nightly"),
    }
    return Job(**(given | changes))


def runner(**changes: Any) -> SlurmRunner:
    return SlurmRunner.model_validate({"kind": "slurm"} | changes)


def script_of(made: SlurmRunner, wanted: Job, folder: Path) -> str:
    return slurm_files(made, wanted, folder, folder)[0].text


def check_options(lines: Sequence[str], mark: str) -> dict[str, str]:
    """Return the options of a script, after each was found in the manual and of its form."""
    found: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(rf"{mark} --([a-z-]+)(?:=(.*))?", line)
        assert match, line
        name, value = match[1], match[2] or ""
        assert name in OPTIONS, f"sbatch has no option {name!r}"
        assert re.fullmatch(OPTIONS[name], value), f"{name}: {value!r}"
        assert name not in found
        found[name] = value
    return found


VARIANTS = [
    {},
    {"gpus": 2, "partition": "a100,h100", "account": "lab", "qos": "long", "constraint": "ib&x"},
    {"nodes": 4, "across": "ray", "search_runner": "ray"},
    {"nodes": 4, "across": "agents", "secret_files": {"AUTOPRUNE_DATABASE": "~/.db url"}},
    {"setup": ["module load python", "source .venv/bin/activate"], "env": {"A": "it's 1"}},
]


@pytest.mark.parametrize("schedule", [None, NIGHTLY])
@pytest.mark.parametrize("changes", VARIANTS)
def test_scripts_are_ones_that_sbatch_and_bash_understand(
    tmp_path: Path, changes: dict[str, Any], schedule: Schedule | None
) -> None:
    made = runner(**changes)
    text = script_of(made, job(schedule=schedule), tmp_path)
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    options = check_options([line for line in lines if line.startswith("#SBATCH")], "#SBATCH")
    assert options["nodes"] == str(made.nodes)
    assert options["time"] == "0-06:20:00"
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])  # sbatch stops there
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    done = subprocess.run(
        [SHELLCHECK, "--exclude=SC1091", "-"], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_several_nodes_start_a_ray_cluster_or_agents(tmp_path: Path) -> None:
    with_ray = script_of(runner(nodes=3, search_runner="ray", gpus=2), job(), tmp_path)
    assert "ray symmetric-run --address" in with_ray
    assert "--min-nodes 3" in with_ray
    assert "--num-gpus 2" in with_ray
    assert "RAY_AUTH_MODE=token" in with_ray
    assert "#SBATCH --exclusive" in with_ray
    agents = script_of(runner(nodes=3, across="agents"), job(), tmp_path)
    assert "autoprune agent join runs/nightly" in agents
    assert "symmetric-run" not in agents
    for text in (with_ray, agents):  # srun does not take it over from sbatch
        assert " --cpus-per-task=4 " in text
    assert "--exclusive" not in agents


def test_a_schedule_starts_the_script_through_scrontab(tmp_path: Path) -> None:
    script, crontab = slurm_files(runner(), job(schedule=NIGHTLY), tmp_path, tmp_path / "my jobs")
    assert "scontrol requeue" not in script.text  # the next firing goes on
    *marks, line, end = crontab.text.splitlines()
    assert (marks[0], end) == ("# autoprune nightly: begin", "# autoprune nightly: end")
    assert line == f"0 2 * * * '{tmp_path}/my jobs/nightly.sh'"
    options = check_options(marks[1:], "#SCRON")
    assert {"time", "mem", "chdir", "job-name", "signal"} <= set(options)
    assert not {"dependency", "requeue"} & set(options)


def test_a_schedule_needs_a_folder_for_its_script(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs --out DIR"):
        slurm_files(runner(), job(schedule=NIGHTLY), tmp_path, None)


@pytest.mark.parametrize("name", ["-x", "a b", "a\n#SBATCH --wrap=x", "", "x" * 65, "é"])
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"job's name must be letters.*--name"):
        script_of(runner(), job(name=name), tmp_path)


@pytest.mark.parametrize("folder", ["/a b", "/a\n#SBATCH --x", "/a'b", "relative"])
def test_odd_folders_are_refused(folder: str) -> None:
    with pytest.raises(ConfigError, match="options cannot hold the folder"):
        script_of(runner(), job(), Path(folder))


@given(st.integers(1, 10**7))
def test_time_limits_are_the_seconds_they_stand_for(seconds: int) -> None:
    text = limit(seconds)
    assert re.fullmatch(OPTIONS["time"], text)
    days, clock = text.split("-")
    hours, minutes, left = map(int, clock.split(":"))
    assert hours < 24
    assert ((int(days) * 24 + hours) * 60 + minutes) * 60 + left == seconds


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of stubs: autoprune tells what it is given, and does what it is told."""
    folder = tmp_path_factory.mktemp("tools")
    stubs = {
        # Writes its arguments and variables, then ends as $CODE says, or waits for SIGTERM
        "autoprune": 'printf "%s\\0" "$@" >"$OUT/argv"; printf "%s" "${GIVEN-}" >"$OUT/env"\n'
        'if [ -n "${WAITS-}" ]; then\n'
        '  trap \'echo term >>"$OUT/signals"; sleep 0.3; exit "$CODE"\' TERM\n'
        '  touch "$OUT/ready"; while :; do sleep 0.05; done\nfi\nexit "$CODE"\n',
        "scontrol": 'if [ "$1" = show ]; then echo node1; echo node2; else\n'
        'echo "$*" >>"$OUT/scontrol"; fi\n',
        # Runs the first task: options end where a word does not begin with a dash
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done\nSLURM_PROCID=${RANK:-0} exec "$@"\n',
        # symmetric-run on the head node: the command after --
        "ray": 'echo "$*" >"$OUT/ray"; [ -z "${NO_RAY-}" ] || exit 0\n'
        'while [ "$1" != -- ]; do shift; done; shift\n"$@"\n',
    }
    for name, text in stubs.items():
        (folder / name).write_text(f"#!/bin/bash\nset -u\n{text}")
        (folder / name).chmod(0o755)
    return folder


def environment(tools: Path, out: Path, **changes: str) -> dict[str, str]:
    slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node[1-2]", "TMPDIR": str(out)}
    path = f"{tools}:{os.environ['PATH']}"
    return os.environ | slurm | {"PATH": path, "OUT": str(out), "CODE": "0"} | changes


def wait_for(file: Path) -> None:
    until = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def started(script: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script in a group of its own, of which nothing is left in the end."""
    with subprocess.Popen(["bash", "-c", script], env=env, start_new_session=True) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=WORDS, value=WORDS, nodes=st.sampled_from([("ray", 1), ("ray", 2), ("agents", 2)]))
def test_words_reach_the_command_as_they_are(
    tmp_path: Path, tools: Path, name: str, value: str, nodes: tuple[str, int]
) -> None:
    wanted = job(file=Path("dir") / name)
    made = runner(across=nodes[0], nodes=nodes[1], env={"GIVEN": value})
    text = script_of(made, wanted, tmp_path)
    env = environment(tools, tmp_path)
    subprocess.run(["bash"], input=text, text=True, env=env, check=True, capture_output=True)
    argv = (tmp_path / "argv").read_bytes().decode().split("\0")[:-1]
    assert argv == list(wanted.command[1:])
    assert (tmp_path / "env").read_bytes().decode() == value


@pytest.mark.parametrize("across", ["none", "ray", "agents"])
@pytest.mark.parametrize(
    ("code", "restarts", "queued"),
    [(0, 0, False), (1, 0, False), (2, 0, False), (3, 0, True), (4, 1, True), (3, 2, False)],
)
def test_a_deadline_and_a_failed_cluster_go_back_into_the_queue(
    tmp_path: Path, tools: Path, across: str, code: int, restarts: int, queued: bool
) -> None:
    made = runner() if across == "none" else runner(nodes=2, across=across)
    env = environment(tools, tmp_path, CODE=str(code), SLURM_RESTART_COUNT=str(restarts))
    text = script_of(made, job(), tmp_path)
    done = subprocess.run(["bash"], input=text, text=True, env=env, capture_output=True)
    assert done.returncode == code, done.stderr
    asked = tmp_path / "scontrol"
    assert (asked.read_text() == "requeue 42\n") if queued else not asked.exists()


@pytest.mark.parametrize("across", ["none", "ray", "agents"])
@pytest.mark.parametrize(
    ("sent", "code", "queued"),
    [
        (signal.SIGUSR1, 3, True),  # the job's time is nearly over
        (signal.SIGUSR1, 0, False),  # ... and the search had just ended
        (signal.SIGTERM, 3, False),  # somebody ends the job
    ],
)
def test_signals_reach_the_search_and_its_exit_code_comes_back(
    tmp_path: Path, tools: Path, across: str, sent: signal.Signals, code: int, queued: bool
) -> None:
    made = runner() if across == "none" else runner(nodes=2, across=across)
    env = environment(tools, tmp_path, CODE=str(code), WAITS="yes")
    with started(script_of(made, job(), tmp_path), env) as running:
        wait_for(tmp_path / "ready")
        running.send_signal(sent)
        assert running.wait(timeout=20) == code
    assert (tmp_path / "signals").read_text() == "term\n"
    assert (tmp_path / "scontrol").exists() == queued


def test_a_ray_that_does_not_start_is_a_failure_of_the_cluster(
    tmp_path: Path, tools: Path
) -> None:
    text = script_of(runner(nodes=2), job(), tmp_path)
    (tmp_path / "autoprune-42.pid").write_text("1")  # of an earlier start
    env = environment(tools, tmp_path, NO_RAY="yes")
    done = subprocess.run(["bash"], input=text, text=True, env=env, capture_output=True)
    assert done.returncode == 4
    assert (tmp_path / "scontrol").read_text() == "requeue 42\n"
    assert not (tmp_path / "autoprune-42.pid").exists()


def test_the_first_reason_to_stop_counts(tmp_path: Path, tools: Path) -> None:
    env = environment(tools, tmp_path, CODE="3", WAITS="yes")
    with started(script_of(runner(), job(), tmp_path), env) as running:
        wait_for(tmp_path / "ready")
        running.send_signal(signal.SIGUSR1)
        wait_for(tmp_path / "signals")
        running.send_signal(signal.SIGTERM)  # the limit is there before the search has ended
        assert running.wait(timeout=20) == 3
    assert (tmp_path / "scontrol").read_text() == "requeue 42\n"


def test_other_nodes_run_agents(tmp_path: Path, tools: Path) -> None:
    text = script_of(runner(nodes=2, across="agents"), job(), tmp_path)
    env = environment(tools, tmp_path, RANK="1")
    subprocess.run(["bash"], input=text, text=True, env=env, check=True)
    assert (tmp_path / "argv").read_bytes().startswith(b"agent\0join\0runs/nightly\0--file\0")


def test_secrets_are_read_from_files_when_the_job_runs(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "the url").write_text("postgresql://me:hunter2@host/db\n")
    made = runner(secret_files={"GIVEN": "~/the url"})
    text = script_of(made, job(), tmp_path)
    assert "hunter2" not in text
    env = environment(tools, tmp_path, HOME=str(tmp_path))
    subprocess.run(["bash"], input=text, text=True, env=env, check=True)
    assert (tmp_path / "env").read_text() == "postgresql://me:hunter2@host/db"
    (tmp_path / "the url").unlink()
    shutil.rmtree(tmp_path / "argv", ignore_errors=True)
    done = subprocess.run(["bash"], input=text, text=True, env=env, capture_output=True)
    assert done.returncode == 2
    assert "the url" in done.stderr


@given(st.text("ab #\n*", max_size=40))
def test_an_entry_takes_the_place_of_its_older_one(others: str) -> None:
    entry = "# autoprune x: begin\n0 2 * * * /x.sh\n# autoprune x: end\n"
    once = with_entry(others, "x", entry)
    assert once.count(entry) == 1
    assert with_entry(once, "x", entry) == once
    assert once.replace(entry, "").strip() == others.strip()
    assert with_entry(once, "y", entry.replace(" x:", " y:")).count(entry) == 1
