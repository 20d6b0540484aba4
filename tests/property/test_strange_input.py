"""Whatever is given, it is read, or refused by an error of ours; nothing else is raised."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprune.artifacts.architecture import Architecture
from autoprune.cli.database import here
from autoprune.cli.metrics import _address
from autoprune.cli.model_options import read_args
from autoprune.cli.search_settings import limits_of, seconds_of, settings_of
from autoprune.core.budget import Budget
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.core.imports import parse_import
from autoprune.core.numbers import parse_count, parse_duration, parse_share
from autoprune.core.pareto import Pareto
from autoprune.core.policy import Policy
from autoprune.core.structure import split_method
from autoprune.core.target import Target
from autoprune.core.tolerance import check_max_drop, parse_cost
from autoprune.core.yaml_file import read_yaml
from autoprune.errors import ConfigError, InputError
from autoprune.execution.jobs.schedule import Schedule
from autoprune.execution.runners.load import read_runner
from autoprune.space.loader import read_space
from autoprune.storage.engine import parse_url
from autoprune.storage.shared import missing_file, server_of
from tests.property.mutations import ODD, changed, mangled, texts, yaml_files

CHECKOUT = Path(__file__).parents[2]
SEARCH = b"""\
model: {target: model.py:build, args: {width: 8}}
data: data.py:loaders
task: {target: segmentation, args: {classes: 3}}
budget: {macs: 50%, size: 10MB, latency@onnxruntime/threads=1: 8ms, macs@visual: 50%}
timeout: 10m
workers: 2
database: x.db
warm_start: [a, b]
recovery: {stages: [[0.5, 0.5], [1, 1]], distill_features: 0.1, distill_modules: [a], amp: auto}
"""
FRONT = b"""\
model: model.py:build
data: data.py:loaders
pareto: latency=20%..60%@onnxruntime
points: 4
rollback: 0.2
"""
PLAN = {
    "schema": 1,
    "constructor": {"target": "os:system", "args": {"command": "true"}},
    "dense_shapes": {"a.weight": [8, 4, 3, 3], "b.weight": [2, 8]},
    "removed": {"a.weight": {"0": [1, 2]}, "b.weight": {"1": [1, 2]}},
    "passed": [],
    "sparse": [],
    "weights_sha256": "0" * 64,
    "inputs": [{"shape": [2, 4, 8, 8], "dtype": "float32"}],
}
POLICY = {"a": {"method": "channel.l1", "sparsity": 0.5}, "b": {"method": "2:4.l2", "sparsity": 1}}
BEAT = {"at": 1.5, "process": 7, "status": {"stage": "search", "done": 1}, "host": "h"}
few = settings(
    max_examples=400,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def refused(read: Callable[[Any], object], given: Any) -> str | None:
    """Read what was given; return what is said if it is refused, and raise all else."""
    try:
        read(given)
    except InputError as err:
        return str(err)
    return None


def shipped(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CHECKOUT / folder).glob("*.yaml"))]


@given(yaml_files([SEARCH, FRONT]))
@few
def test_a_search_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "search.yaml"
    file.write_bytes(content)

    def read(path: Path) -> None:
        found = settings_of(path, {})
        assert limits_of(found)
        found.shared_database, found.reference(found.space)  # what is made of its texts

    said = refused(read, file)
    assert said is None or str(file) in said


@given(yaml_files(shipped("search_spaces")))
@few
def test_a_search_space_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(content)
    atoms = {"features.3": 64, "layer1.0": 8, "fc": 7}
    said = refused(lambda path: read_space(path).resolve(atoms, {"layer1.0": "block"}), file)
    assert said != ""


@given(yaml_files(shipped("runners")))
@few
def test_a_runner_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "runner.yaml"
    file.write_bytes(content)
    said = refused(read_runner, file)
    assert said is None or str(file) in said


def json_files(tree: Any) -> st.SearchStrategy[bytes]:
    written = json.dumps(tree).encode()
    return changed([tree]).map(lambda one: json.dumps(one, default=str).encode()) | mangled(
        [written]
    )


@given(json_files(PLAN))
@few
def test_a_plan_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    said = refused(Architecture.read, tmp_path)
    assert said is None or "plan.json" in said


@given(json_files(POLICY))
@few
def test_a_policy_is_read_or_refused(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    said = refused(lambda given: Policy.from_json(given).fingerprint, text)
    assert said is None or "policy" in said or "sparsity" in said


@given(json_files(BEAT))
@few
def test_a_heartbeat_is_read_or_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / HEARTBEAT).write_bytes(content)
    beat = Heartbeat.of(tmp_path)
    assert beat is None or beat.age >= 0 or beat.at != beat.at


GRAMMARS: dict[str, tuple[Callable[[str], object], list[str]]] = {
    "budget": (Budget.parse, ["macs=50%", "latency=8ms@onnxruntime, size=1.5MiB", "flops=1G"]),
    "pareto": (Pareto.parse, ["macs=25%..75%", "latency=4ms..8ms@onnxruntime", "params"]),
    "target": (Target.parse, ["onnxruntime/threads=1/batch=8/dtype=float16/channels_last"]),
    "cost": (parse_cost, ["macs", "macs@visual", "latency@onnxruntime"]),
    "duration": (lambda given: parse_duration(given, "--limit"), ["90s", "1.5h", "2d"]),
    "deadline": (lambda given: seconds_of(given, "--deadline"), ["90s", "10m"]),
    "share": (lambda given: parse_share(given, "--error"), ["3%", "0.03"]),
    "count": (lambda given: parse_count(given, "workers"), ["auto", "7"]),
    "schedule": (Schedule.parse, ["0 2 * * *", "*/5 1-3 1,2 * MON"]),
    "url": (parse_url, ["sqlite:///x.db", "postgresql+psycopg://u:p@h:5432/n?sslmode=require"]),
    "listen": (_address, ["9464", "[::1]:9464", "localhost:80"]),
    "args": (lambda given: read_args([given]), ["width=8", "names=[a, b]", "x={a: 1}"]),
    "import": (parse_import, ["model.py:build", "module:torchvision.models:resnet18"]),
    "method": (split_method, ["channel.l1", "2:4.l2", "block.drop"]),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_text_of_the_command_line_is_read_or_refused(name: str) -> None:
    read, right = GRAMMARS[name]
    assert all(refused(read, one) is None for one in right)

    @given(texts(right))
    @few
    def check(text: str) -> None:
        assert refused(read, text) != ""

    check()


@pytest.mark.parametrize(
    "read", [Budget.parse, Pareto.parse, check_max_drop], ids=["budget", "pareto", "max_drop"]
)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_what_is_no_text_is_read_or_refused(read: Callable[[Any], object], odd: Any) -> None:
    assert refused(read, odd) != ""


@given(texts(["x.db", "sqlite:///x.db", "/tmp/x.db", "~/x.db"]).filter(lambda one: len(one) < 200))
@few
def test_the_name_of_a_database_is_read_or_refused(text: str) -> None:
    def look(given: str) -> None:
        missing_file(here(given))
        server_of(here(given))

    assert refused(look, text) != ""


DEEPER = b"".join(
    b"- &%c [%s]\n" % (98 + at, b", ".join([b"*%c" % (97 + at)] * 9)) for at in range(9)
)
FILES = {
    "aliases of aliases": (b"- &a [x, x]\n" + DEEPER, "more than 100,000 values"),
    "an alias of itself": (b"a: &a [*a]", "an alias stands for what it is part of"),
    "deep lists": (b"[" * 100_000, "nested too deeply"),
    "deep mappings": (b"{a: " * 50_000, "nested too deeply"),
    "a long file": (b"a: b\n" * 1_000_000, "longer than"),
    "no text": (os.urandom(100) + b"\xff\xfe", "not a text file"),
    "NUL": (b"\0" * 9, "not valid YAML"),
    "an escaped NUL": (b'a: "\\0"', "holds a character"),
    "code": (b"a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
    "no date": (b"a: 2001-13-45", "'2001-13-45' is no timestamp"),
    "a number of many digits": (b"a: " + b"1" * 5000, "is no int"),
    "no number": (b"a: !!int x", "line 1, is not valid YAML: 'x' is no int"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_strange_file_is_told_what_it_is(name: str, tmp_path: Path) -> None:
    content, part = FILES[name]
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=part):
        read_yaml(file)


def test_what_people_write_with_aliases_is_read(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text("a: &a {k: 1}\nb: {<<: *a, l: 2}\nc: [*a, *a]\n")
    assert read_yaml(file) == {"a": {"k": 1}, "b": {"k": 1, "l": 2}, "c": [{"k": 1}, {"k": 1}]}
