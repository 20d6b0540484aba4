"""Manifests: valid for several versions of Kubernetes, secrets by reference, no injection."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from autoprune.errors import ConfigError
from autoprune.execution.jobs.job import Job
from autoprune.execution.jobs.kubernetes import kubernetes_files, manifests
from autoprune.execution.jobs.schedule import Schedule
from autoprune.execution.runners.kubernetes import KubernetesRunner

VERSIONS = ("1.31", "1.34", "1.37")
NIGHTLY = Schedule.parse("0 2 * * *")
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
FULL = {
    "namespace": "pruning",
    "gpus": 1,
    "agents": 3,
    "search_runner": "ray",
    "runs": "/work/runs",
    "service_account": "pruner",
    "time_zone": "Europe/Berlin",
    "volume_claim": "shared",
    "env": {"LEVEL": "yes", "ODD": "a: b # c {{d}}\n- e"},
    "secrets": {"AUTOPRUNE_DATABASE": "database/url"},
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Head(Strict):
    """HeadGroupSpec of KubeRay's CRD: both keys are required."""

    rayStartParams: dict[str, str]
    template: dict[str, Any]


class Workers(Head):
    """WorkerGroupSpec."""

    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int


class Auth(Strict):
    """AuthOptions, since KubeRay 1.5.1."""

    mode: Literal["token", "disabled"]


class Cluster(Strict):
    """RayClusterSpec, of which our fields."""

    rayVersion: str
    authOptions: Auth
    headGroupSpec: Head
    workerGroupSpecs: list[Workers] = []


class RayJobSpec(Strict):
    """RayJobSpec of ray.io/v1, of which our fields."""

    entrypoint: str
    backoffLimit: int
    activeDeadlineSeconds: int
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    rayClusterSpec: Cluster


class RayJob(Strict):
    """RayJob of ray.io/v1."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: dict[str, Any]
    spec: RayJobSpec


def job(**changes: Any) -> Job:
    given: dict[str, Any] = {
        "name": "nightly",
        "file": Path("search.yaml"),
        "run": Path("runs/nightly"),
    }
    return Job(**(given | changes))


def runner(**changes: Any) -> KubernetesRunner:
    return KubernetesRunner.model_validate(
        {"kind": "kubernetes", "image": "team/autoprune:1"} | changes
    )


def documents(made: KubernetesRunner, wanted: Job) -> list[dict[str, Any]]:
    """Return what a cluster reads out of the rendered file."""
    return list(yaml.safe_load_all(kubernetes_files(made, wanted)[0].text))


def validate(document: dict[str, Any]) -> None:
    """Validate a manifest by the schemas of Kubernetes, or KubeRay's and those of its pods."""
    if document["kind"] != "RayJob":
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
        return
    cluster = RayJob.model_validate(document).spec.rayClusterSpec
    metadata = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        validate(metadata | {"spec": group.template["spec"]})


@pytest.mark.parametrize("workload", ["job", "rayjob"])
@pytest.mark.parametrize("schedule", [None, NIGHTLY])
@pytest.mark.parametrize("changes", [{"namespace": "x", "volume_claim": None}, FULL])
def test_every_manifest_is_valid_and_in_its_namespace(
    workload: str, schedule: Schedule | None, changes: dict[str, Any]
) -> None:
    made = runner(workload=workload, **changes)
    found = documents(made, job(schedule=schedule))
    assert found == manifests(made, job(schedule=schedule))
    for one in found:
        validate(one)
        assert one["metadata"]["namespace"] == made.namespace
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "nightly"


def test_the_validator_finds_a_misspelt_key() -> None:
    (found,) = manifests(runner(), job())
    found["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagee"):
        validate(found)


def container_of(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["template"]["spec"]["containers"][0]
    return found


def test_a_job_tells_failures_apart() -> None:
    (once,) = manifests(runner(attempts=4), job())
    spec = once["spec"]
    assert spec["backoffLimit"] == 3
    ignored, final = spec["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert final["action"] == "FailJob"
    assert final["onExitCodes"]["values"] == [2]
    assert final["onExitCodes"]["containerName"] == container_of(spec)["name"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # or the policy is refused


def test_on_a_schedule_a_deadline_waits_for_the_next_firing() -> None:
    (cron,) = manifests(runner(start_within="30m", time_zone="Etc/UTC"), job(schedule=NIGHTLY))
    spec = cron["spec"]
    assert spec["schedule"] == "0 2 * * *"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 1800
    assert spec["timeZone"] == "Etc/UTC"
    ends = spec["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert 6 * 3600 < ends < 7 * 3600  # one window, however many attempts
    final = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][1]
    assert final["onExitCodes"]["values"] == [2, 3]


def test_the_heartbeat_is_probed_and_starting_may_take_longer() -> None:
    (once,) = manifests(runner(max_age="90s", grace="45s"), job())
    container = container_of(once["spec"])
    probe = ["autoprune", "runs", "status", "runs/nightly", "--max-age", "90s"]
    assert container["livenessProbe"]["exec"]["command"] == probe
    startup = container["startupProbe"]
    assert startup["exec"]["command"] == probe
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 600
    assert once["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45


def test_a_folder_that_looks_like_a_variable_is_probed_as_it_is_searched() -> None:
    (once,) = manifests(runner(), job(run=Path("runs/$(HOME)")))
    container = container_of(once["spec"])
    assert "runs/$$(HOME)" in container["livenessProbe"]["exec"]["command"]


def test_agents_are_a_job_of_their_own_that_may_come_too_early() -> None:
    search, agents = manifests(runner(agents=3), job())
    assert agents["metadata"]["name"] == "nightly-agents"
    assert agents["spec"]["parallelism"] == 3
    assert "podFailurePolicy" not in agents["spec"]
    container = container_of(agents["spec"])
    assert container["command"] == list(job().agent)
    assert "livenessProbe" not in container  # their leases run out
    assert container_of(search["spec"])["command"] == list(job().command)


def test_secrets_are_references() -> None:
    container = container_of(manifests(runner(**FULL), job())[0]["spec"])
    by_name = {one["name"]: one for one in container["env"]}
    reference = by_name["AUTOPRUNE_DATABASE"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "database", "key": "url"}
    assert by_name["ODD"] == {"name": "ODD", "value": FULL["env"]["ODD"]}  # type: ignore[index]


def expanded(text: str) -> str:
    """Return what Kubernetes makes of commands and values: $$ is $, $(NAME) is a variable."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda found: "INJECTED" if found[1] else "$", text)


@given(
    st.text("a$()A", max_size=9) | st.text(max_size=30),
    st.text("$()A") | st.text(st.characters(exclude_characters="\0"), max_size=30),
)
def test_no_text_breaks_out_of_its_place(value: str, name: str) -> None:
    made = runner(env={"A": value})
    wanted = job(file=Path("dir") / name)
    found = documents(made, wanted)
    assert found == manifests(made, wanted)
    assert len(found) == 1
    container = container_of(found[0]["spec"])
    assert [expanded(one["value"]) for one in container["env"]] == [value]
    assert [expanded(word) for word in container["command"]] == list(wanted.command)


@pytest.mark.parametrize("name", ["Nightly", "a_b", "-a", "a-", "a.b", "", "a" * 38, "a\nb: c"])
def test_names_are_dns_labels(name: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a DNS label.* at most 37 characters"):
        manifests(runner(), job(name=name))


def test_a_scheduled_ray_job_may_be_created_and_nothing_else() -> None:
    made = runner(workload="rayjob", **FULL)
    account, role, binding, files, cron = manifests(made, job(schedule=NIGHTLY))
    assert account["kind"] == "ServiceAccount"
    assert role["rules"] == [
        {
            "apiGroups": ["ray.io"],
            "resources": ["rayjobs"],
            "verbs": ["create", "get", "list", "patch"],
        }
    ]
    name = account["metadata"]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": name, "namespace": "pruning"}
    ]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == name
    assert pod["volumes"][0]["configMap"]["name"] == files["metadata"]["name"]
    validate(yaml.safe_load(files["data"]["rayjob.yaml"]))
    with pytest.raises(ConfigError, match="Set the key 'namespace'"):
        manifests(runner(workload="rayjob"), job(schedule=NIGHTLY))


def test_a_ray_job_runs_the_same_command_with_a_token_and_removes_its_cluster() -> None:
    (once,) = manifests(runner(workload="rayjob", workdir="/my work", **FULL), job())
    spec = once["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] > job().seconds
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert spec["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 3


@pytest.mark.parametrize("name", ["search.yaml", 'it\'s $HOME `id` "x" ; exit.yaml'])
def test_the_entrypoint_survives_the_script_of_kuberay_and_the_shell_of_ray(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "my work").mkdir()
    wanted = job(file=Path(name))
    made = runner(workload="rayjob", workdir=str(tmp_path / "my work"))
    (once,) = manifests(made, wanted)
    (tmp_path / "ray").write_text(
        f"#!{sys.executable}\nimport shlex, subprocess, sys\n"
        "words = sys.argv[sys.argv.index('--') + 1:]\n"
        "sys.exit(subprocess.call(shlex.join(words), shell=True))\n"
    )
    (tmp_path / "autoprune").write_text("#!/bin/sh\npwd; printf '%s\\0' \"$@\"\n")
    for tool in ("ray", "autoprune"):
        (tmp_path / tool).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = f"ray job submit --no-wait -- {once['spec']['entrypoint']} ;"
    done = subprocess.run(
        ["bash", "-ce", script], env=env, check=True, capture_output=True, text=True
    )
    folder, argv = done.stdout.split("\n", 1)
    assert folder == str(tmp_path / "my work")
    assert argv.split("\0")[:-1] == list(wanted.command[1:])


KUBECTL = """#!/bin/sh
if [ "$1" = get ]; then printf '%s\\n' "$*" >>"$OUT/get"; cat "$OUT/active"; else
printf '%s\\n' "$*" >>"$OUT/apply"; cat >"$OUT/applied"; fi
"""


@pytest.mark.parametrize(
    ("active", "created"),
    [
        ("", True),
        ("nightly-1=Complete\nnightly-2=Failed\n", True),
        ("nightly-1=Running\n", False),
        ("nightly-1=Complete\nnightly-2=\n", False),  # new, no state yet
        ("nightly-3=Running\n", True),  # this firing's own: its pod was started twice
    ],
)
def test_a_firing_creates_its_ray_job_unless_another_runs(
    tmp_path: Path, active: str, created: bool
) -> None:
    made = runner(workload="rayjob", **FULL)
    data = manifests(made, job(schedule=NIGHTLY))[3]["data"]
    (tmp_path / "rayjob.yaml").write_text(data["rayjob.yaml"])
    (tmp_path / "active").write_text(active)
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    script = data["launch.sh"].replace("/launch/", f"{tmp_path}/")
    check: list[str | Path] = [SHELLCHECK, "--shell=sh", "-"]
    subprocess.run(check, input=data["launch.sh"], text=True, check=True)
    env = {
        **os.environ,
        **{"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(tmp_path)},
        **{"JOB_NAME": "nightly-3", "JOB_UID": "1-2-3"},
    }
    subprocess.run(["sh"], input=script, text=True, env=env, check=True)
    assert "app.kubernetes.io/instance=nightly" in (tmp_path / "get").read_text()
    assert (tmp_path / "apply").exists() == created
    if created:
        assert "--server-side" in (tmp_path / "apply").read_text()
        applied = yaml.safe_load((tmp_path / "applied").read_text())
        validate(applied)
        assert applied["metadata"]["name"] == "nightly-3"
        (owner,) = applied["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", "nightly-3", "1-2-3")
