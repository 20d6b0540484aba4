"""``autoprune jobs``: what it prints, and what it asks of schedulers that stubs stand for."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoprune._resources import names, resource
from autoprune.cli.main import main
from autoprune.errors import ConfigError
from autoprune.execution.runners import JobRunner, load_runner, load_runner_for
from autoprune.execution.runners.cluster import RayRunner

SEARCH = "model: code.py:net\ndata: code.py:loaders\nbudget: {macs: 50%}\nout: runs/net\n"
STUB = """#!/bin/sh
printf '%s ' "$(basename "$0")" "$@" >>"$LOG"; printf '\\n' >>"$LOG"
case " $* " in *" - "* | *" --filename=- "* | *" --parsable "*) cat >"$LOG.given" ;; esac
{body}
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """Run a command of jobs and return its exit code, standard output and standard error."""
    monkeypatch.setattr("sys.argv", ["autoprune", "jobs", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    return ended.value.code or 0, shown.out, shown.err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *words: run(capsys, monkeypatch, *words)


def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """Put tools that note what they are asked in front of all others."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        (folder / name).write_text(STUB.format(body=body))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def log(tmp_path: Path) -> list[str]:
    return [line.strip() for line in (tmp_path / "log").read_text().splitlines()]


@pytest.mark.parametrize("name", ["slurm", "kubernetes", "ray-job"])
def test_every_shipped_runner_renders_and_explains_every_key(cli: Any, name: str) -> None:
    code, out, err = cli("render", "search.yaml", "--runner", name)
    assert (code, err) == (0, "")
    assert "autoprune search" in out.replace("\n        - ", " ")
    runner = load_runner_for(JobRunner, name)
    text = resource("runners", f"{name}.yaml").read_text()
    shown = set(yaml.safe_load(text))
    assert shown == set(type(runner).model_fields)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("kind: slurm\nnodes: 2\n", "--runner ray-cluster"),
        ("kind: slurm\nnodes: 2\nsearch_runner: mine\n", "--runner mine"),
        ("kind: slurm\nnodes: 2\nacross: agents\n", None),
        ("kind: slurm\n", None),
        ("kind: kubernetes\nimage: x\nworkload: rayjob\n", "--runner ray-cluster"),
        ("kind: ray-job\nupload: false\n", "--runner ray-cluster"),
    ],
)
def test_a_search_on_a_ray_cluster_uses_it(
    cli: Any, tmp_path: Path, text: str, inside: str | None
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    code, out, _ = cli("render", "search.yaml", "--runner", "file:mine.yaml")
    assert code == 0
    assert inside in out if inside else "--runner" not in out
    ray_cluster = load_runner("ray-cluster")
    assert isinstance(ray_cluster, RayRunner)
    assert ray_cluster.address == "auto"


def test_templates_are_found_where_runners_are() -> None:
    assert {Path(name).name for name in names("runners", ".j2")} >= {"slurm.sh", "scrontab"}


def test_files_are_written_and_scripts_run(cli: Any, tmp_path: Path) -> None:
    words = ("--schedule", "0 2 * * *", "--deadline", "3h", "--out", "made")
    code, out, _ = cli("render", "search.yaml", "--runner", "slurm", *words)
    script, crontab = map(Path, out.split())
    assert code == 0
    assert script.stat().st_mode & stat.S_IXUSR
    assert "--deadline 3h" in script.read_text()
    assert str(tmp_path / "made" / "autoprune-net.sh") in crontab.read_text()


def test_render_prints_json(cli: Any) -> None:
    _, out, _ = cli("render", "search.yaml", "--runner", "kubernetes", "--name", "n", "--json")
    found = json.loads(out)
    assert found["name"] == "n"
    assert yaml.safe_load(found["files"]["n.yaml"])["metadata"]["name"] == "n"


def test_a_deadline_longer_than_the_schedule_is_told(cli: Any) -> None:
    words = ("--schedule", "0 * * * *", "--deadline", "2h")
    code, _, err = cli("render", "search.yaml", "--runner", "kubernetes", *words)
    assert code == 0
    assert "longer than the time between two firings" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--runner", "local"), "is of kind 'local'. It runs searches"),
        (("--runner", "slrm"), "Unknown runner 'slrm'. Did you mean 'slurm'"),
        (("--runner", "slurm", "--schedule", "daily"), "five fields"),
        (("--runner", "kubernetes", "--name", "A"), "must be a DNS label"),
    ],
)
def test_what_cannot_be_used_is_explained(cli: Any, words: Any, message: str) -> None:
    code, out, err = cli("render", "search.yaml", *words)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: slurm\nmemory: lots\n", "'memory' must be a number and K, M, G or T. Got 'lots'"),
        ("kind: slurm\npartition: 'a\\n#SBATCH --x'\n", "'partition' must be a word"),
        ("kind: slurm\nenv: {DB_PASSWORD: x}\n", "'DB_PASSWORD', which sounds like a secret"),
        ("kind: slurm\nenv: {'A;b': x}\n", "'A;b' is no name of an environment variable"),
        ("kind: slurm\nenv: {URL: 'pg://me:hunter2@h/d'}\n", "'env.URL' holds a password"),
        ("kind: slurm\ngrace: never\n", "'grace' must be above 0"),
        ("kind: kubernetes\n", "the key 'image' is missing"),
        ("kind: kubernetes\nimage: x\nsecrets: {DB: s3cret}\n", "must be 'SECRET/KEY'"),
        ("kind: kubernetes\nimage: x\ncpus: many\n", "'cpus' must be a number"),
        ("kind: kubernetes\nimage: x\nagents: -1\n", "'agents' is wrong"),
        ("kind: ray-job\naddress: 'http://me:hunter2@h:1'\n", "'address' holds a password"),
        ("kind: ray-job\naddress: ray://h:1\n", "'address' must be http://HOST:PORT"),
        ("kind: ray-job\nupload: false\nattempts: 3\n", "unknown key 'attempts'"),
    ],
)
def test_wrong_runner_files_are_explained_and_tell_no_secret(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_runner_for(JobRunner, "file:mine.yaml")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_job_runner_runs_no_search() -> None:
    with pytest.raises(ConfigError, match=r"'slurm'.*autoprune jobs render.*kind local"):
        load_runner("slurm")


@pytest.mark.parametrize(("name", "tool"), [("slurm", "sbatch"), ("kubernetes", "kubectl")])
def test_a_missing_tool_is_named(
    cli: Any, monkeypatch: pytest.MonkeyPatch, name: str, tool: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = cli("submit", "search.yaml", "--runner", name)
    assert code == 2
    assert f"'{tool}' is not installed here" in err
    assert "autoprune jobs render" in err


def test_a_dry_run_does_nothing(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, monkeypatch, sbatch="", kubectl="", scrontab="")
    words = ("submit", "search.yaml", "--dry-run", "--runner")
    assert cli(*words, "slurm")[1].startswith("sbatch --parsable <<'EOF'\n#!/bin/bash")
    assert "kubectl apply --server-side" in cli(*words, "kubernetes")[1]
    added = cli(*words, "slurm", "--schedule", "0 2 * * *", "--out", "made")[1]
    assert added.startswith("sh -c '{ scrontab -l; cat; } | scrontab -' <<'EOF'\n# autoprune")
    found = json.loads(cli(*words, "ray-job", "--json")[1])
    assert found["command"] == ["POST", "http://127.0.0.1:8265/api/jobs/"]
    assert not (tmp_path / "log").exists()


def test_slurm_gets_the_script(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, monkeypatch, sbatch="echo '77;cluster'")
    code, out, _ = cli("submit", "search.yaml", "--runner", "slurm", "--json")
    assert code == 0
    assert json.loads(out) == {"id": "77", "told": "Submitted as job 77.", "new": True}
    assert log(tmp_path) == ["sbatch --parsable"]
    _, rendered, _ = cli("render", "search.yaml", "--runner", "slurm")
    assert (tmp_path / "log.given").read_text() == rendered


def test_a_scheduler_that_refuses_is_exit_code_4(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path, monkeypatch, sbatch="echo 'invalid account' >&2; exit 1")
    code, _, err = cli("submit", "search.yaml", "--runner", "slurm")
    assert code == 4
    assert "'sbatch' failed with exit code 1: invalid account" in err


def test_a_crontab_is_changed_only_when_asked_to(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = '[ "$1" = -l ] && cat "$LOG.crontab"; [ "$1" = - ] && cp "$LOG.given" "$LOG.crontab"; :'
    stub(tmp_path, monkeypatch, scrontab=body)
    (tmp_path / "log.crontab").write_text("0 1 * * * /mine.sh\n")
    words = ("submit", "search.yaml", "--runner", "slurm", "--out", "made", "--schedule")
    code, out, _ = cli(*words, "0 2 * * *")
    assert code == 0
    assert "Nothing was changed. With --install" in out
    assert not (tmp_path / "log").exists()
    assert cli(*words, "0 2 * * *", "--install")[0] == 0
    assert cli(*words, "0 3 * * *", "--install")[0] == 0
    crontab = (tmp_path / "log.crontab").read_text()
    assert crontab.startswith("0 1 * * * /mine.sh\n")
    assert crontab.count("autoprune-net.sh") == 1
    assert "\n0 3 * * * " in crontab
    assert os.access(tmp_path / "made" / "autoprune-net.sh", os.X_OK)


def test_a_user_without_a_crontab_gets_one(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = '[ "$1" = - ] || { echo "no crontab for me" >&2; exit 1; }'
    stub(tmp_path, monkeypatch, scrontab=body)
    words = ("--runner", "slurm", "--out", "made", "--schedule", "0 2 * * *", "--install")
    assert cli("submit", "search.yaml", *words)[0] == 0
    assert (tmp_path / "log.given").read_text().startswith("# autoprune autoprune-net: begin")


def test_a_crontab_that_cannot_be_read_is_not_overwritten(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path, monkeypatch, scrontab="echo 'slurmctld is down' >&2; exit 1")
    words = ("--runner", "slurm", "--out", "made", "--schedule", "0 2 * * *", "--install")
    code, _, err = cli("submit", "search.yaml", *words)
    assert code == 4
    assert "slurmctld is down" in err
    assert log(tmp_path) == ["scrontab -l"]


def test_slurm_tells_what_waits_and_what_ended(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(
        tmp_path,
        monkeypatch,
        squeue="echo 'Welcome to the cluster.'; echo '78|RUNNING|1:02|None'",
        sacct="printf '77|FAILED|6:00:01|3:0\\n78|RUNNING|1:02|0:0\\n'",
    )
    _, out, _ = cli("status", "search.yaml", "--runner", "slurm", "--json")
    found = {one["id"]: one for one in json.loads(out)}
    assert found["78"]["state"] == "RUNNING"
    assert found["77"] | {"state": "FAILED", "told": "exit code 3"} == found["77"]
    assert all("--name=autoprune-net" in line for line in log(tmp_path))
    stub(tmp_path, monkeypatch, sacct="echo 'accounting is disabled' >&2; exit 1")
    _, out, _ = cli("status", "search.yaml", "--runner", "slurm")
    assert "78" in out
    assert "RUNNING" in out


def test_kubernetes_gets_the_manifests_and_tells_their_state(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"type": "Failed", "status": "True", "message": "exit code 2"}
    items = [
        {
            "kind": "CronJob",
            "metadata": {"name": "autoprune-net", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"schedule": "0 2 * * *"},
            "status": {"lastScheduleTime": "2026-01-02T02:00:00Z"},
        },
        {
            "kind": "Job",
            "metadata": {"name": "autoprune-net-1"},
            "status": {"conditions": [ended], "startTime": "2026-01-02T02:00:01Z"},
        },
        {"kind": "Job", "metadata": {"name": "autoprune-net-2"}, "status": {"active": 1}},
        {
            "kind": "RayJob",
            "metadata": {"name": "r"},
            "status": {"jobDeploymentStatus": "Running", "jobStatus": "PENDING"},
        },
    ]
    (tmp_path / "answer.json").write_text(json.dumps({"items": items}))
    body = f'[ "$1" = get ] && cat {tmp_path}/answer.json || echo "cronjob applied"'
    stub(tmp_path, monkeypatch, kubectl=body)
    words = ("--runner", "kubernetes", "--schedule", "0 2 * * *")
    _, out, _ = cli("submit", "search.yaml", *words)
    assert out == "cronjob applied\n"
    assert yaml.safe_load((tmp_path / "log.given").read_text())["kind"] == "CronJob"
    _, out, _ = cli("status", "search.yaml", "--runner", "kubernetes", "--json")
    states = [(one["kind"], one["state"], one["told"]) for one in json.loads(out)]
    assert states == [
        ("CronJob", "Waiting", "0 2 * * *, last fired: 2026-01-02T02:00:00Z"),
        ("Job", "Failed", "exit code 2"),
        ("Job", "Running", ""),
        ("RayJob", "Running", "PENDING"),
    ]
    assert "--selector=app.kubernetes.io/name=autoprune" in log(tmp_path)[-1]


@pytest.mark.parametrize(
    ("status", "told", "asked"),
    [
        (None, "job applied", ["get", "apply"]),
        ({"active": 1}, "is there (Running); nothing was applied", ["get"]),
        ("Complete", "another --name, or delete the old job: kubectl delete job/", ["get"]),
        ("Failed", "job applied", ["get", "delete", "apply"]),
    ],
)
def test_a_job_of_kubernetes_runs_once_and_goes_on_if_it_failed(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: Any, told: str, asked: Any
) -> None:
    if isinstance(status, str):
        status = {"conditions": [{"type": status, "status": "True"}]}
    names = ("autoprune-net", "autoprune-net-agents")
    items = [{"kind": "Job", "metadata": {"name": name}, "status": status} for name in names]
    content = {"items": [] if status is None else items}
    (tmp_path / "answer.json").write_text(json.dumps(content))
    body = f'[ "$1" = get ] && cat {tmp_path}/answer.json || echo "job applied"'
    stub(tmp_path, monkeypatch, kubectl=body)
    _, out, _ = cli("submit", "search.yaml", "--runner", "kubernetes")
    assert told in out
    lines = log(tmp_path)
    assert [line.split()[1] for line in lines] == asked
    if "delete" in asked:
        assert lines[1].split()[2:4] == [f"job/{name}" for name in names]


@pytest.mark.parametrize("given", ["{}", "[]", '{"items": [{"kind": "Job"}]}', '{"items": [3]}'])
def test_a_kubectl_that_tells_no_jobs_is_told(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    stub(tmp_path, monkeypatch, kubectl=f"echo '{given}'")
    code, _, err = cli("status", "search.yaml", "--runner", "kubernetes")
    assert code == 4
    assert "'kubectl' gave no list of jobs" in err


def test_nothing_known_is_told(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, monkeypatch, squeue="", sacct="")
    code, out, _ = cli("status", "search.yaml", "--runner", "slurm")
    assert code == 0
    assert "knows no job 'autoprune-net'" in out
