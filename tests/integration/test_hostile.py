"""What strangers may put into artifacts and databases: nothing of it is run, and it is told."""

import hashlib
import importlib.util
import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoprune
from autoprune.errors import ArtifactError, CheckpointError, InputError
from autoprune.execution.checkpoint import load_checkpoint
from tests.integration.conftest import finish

Run = Callable[..., tuple[int, str, str]]
CANARY = "was_run"


class Evil:
    """Unpickled, it makes the file that shows it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@pytest.fixture(scope="module")
def made(user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with three finished runs: run, front and steps."""
    steps = (user_folder / "search.yaml").read_text().replace("finalists: 2", "finalists: 1")
    steps = steps.replace("score_steps: 4", "score_steps: 4, schedule: progressive")
    (user_folder / "steps.yaml").write_text(steps)
    words = {
        "run": ["search.yaml"],
        "steps": ["steps.yaml"],
        "front": ["search.yaml", "--pareto", "macs=40%..70%", "--points", "2"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        patch.setenv("AUTOPRUNE_DATABASE", str(tmp_path_factory.mktemp("shared") / "shared.db"))
        for out, more in words.items():
            finish(patch, "search", *more, "--out", out, "--trials", "3", "--quiet")
    return user_folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, the working folder; if anything in it is run, the canary is there."""
    folder = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def build(project: Path) -> Callable[[], torch.nn.Module]:
    """Return the user's own constructor, imported by the user."""
    spec = importlib.util.spec_from_file_location("users_code", project / "code.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[], torch.nn.Module] = module.net
    return found


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def execute(database: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(database) as connection:
        assert connection.execute(statement, values).rowcount != 0
    connection.close()


def pickled(project: Path) -> bytes:
    return pickle.dumps({"state_dict": Evil(project / CANARY)})


def in_zip(project: Path) -> bytes:
    torch.save({"state_dict": Evil(project / CANARY)}, project / "evil.pt")
    return (project / "evil.pt").read_bytes()


PICKLES = pytest.mark.parametrize("content_of", [pickled, in_zip])


@PICKLES
def test_the_pickles_here_do_run_where_they_are_trusted(
    content_of: Callable[[Path], bytes], project: Path
) -> None:
    (project / "evil.pt").write_bytes(content_of(project))
    with (project / "evil.pt").open("rb") as file:
        pickle.load(file) if content_of is pickled else torch.load(file, weights_only=False)
    assert (project / CANARY).exists(), "else the tests below prove nothing"


@PICKLES
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_pickle_for_weights_is_refused(
    name: str, content_of: Callable[[Path], bytes], project: Path, run_autoprune: Run
) -> None:
    (project / name).write_bytes(content_of(project))
    with (project / "search.yaml").open("a") as file:
        file.write(f"checkpoint: {name}\n")
    code, _, err = run_autoprune("search", "search.yaml", "--out", "new")
    assert code == 2
    assert name in err
    assert not (project / CANARY).exists()


@PICKLES
def test_a_pickle_in_a_result_is_refused_though_its_sum_is_right(
    content_of: Callable[[Path], bytes], project: Path
) -> None:
    weights = project / "run" / "weights.safetensors"
    weights.write_bytes(content_of(project))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    change(project / "run" / "plan.json", weights_sha256=sha256)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        autoprune.load(project / "run", model=build(project))
    assert not (project / CANARY).exists()


@pytest.mark.parametrize("target", ["os:system", "subprocess:run", "evil.py:anything"])
def test_a_constructor_that_a_result_names_is_left_alone_if_a_model_is_given(
    target: str, project: Path, run_autoprune: Run
) -> None:
    (project / "run" / "evil.py").write_text(f"from pathlib import Path\nPath({CANARY!r}).touch()")
    args = {"command": f"touch {CANARY}", "args": ["touch", CANARY]}
    change(project / "run" / "plan.json", constructor={"target": target, "args": args})
    assert isinstance(autoprune.load(project / "run", model=build(project)), torch.nn.Module)
    (project / "copy").mkdir()
    shape = ("--model", "code.py:net", "--input", "2,1,6,6")
    words = ("export", "run", "--format", "safetensors", "--out", "copy", *shape)
    code, _, err = run_autoprune(*words)
    assert code == 0, err
    assert not (project / CANARY).exists()


LOOKS = [
    *("report run", "ledger run", "runs show run", "runs list", "runs status run"),
    "db check --database run/autoprune.db",
]


@pytest.mark.parametrize("words", LOOKS)
def test_looking_at_a_run_imports_nothing_that_it_names(
    words: str, project: Path, run_autoprune: Run
) -> None:
    (project / "code.py").write_text(f"from pathlib import Path\nPath({CANARY!r}).touch()")
    target = {"target": "os:system", "args": {"command": f"touch {CANARY}"}}
    change(project / "run" / "plan.json", constructor=target)
    evil = pickled(project).hex()
    execute(
        project / "run" / "autoprune.db",
        "INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (1, ?, ?)",
        *("cma:optimizer:0", json.dumps(evil)),
    )
    code, _, err = run_autoprune(*words.split())
    assert code in (0, 1), err
    assert not (project / CANARY).exists()


@PICKLES
def test_a_pickle_for_a_state_of_a_progressive_run_is_told(
    content_of: Callable[[Path], bytes], project: Path, run_autoprune: Run
) -> None:
    states = sorted((project / "steps" / "checkpoints").glob("*.pt"))
    assert states
    database = project / "steps" / "autoprune.db"
    with sqlite3.connect(database) as connection:
        ((rows),) = connection.execute("SELECT count(*) FROM ap_checkpoint").fetchall()
    assert rows[0]
    for state in states:
        before = hashlib.sha256(state.read_bytes()).hexdigest()
        state.write_bytes(content_of(project))
        after = hashlib.sha256(state.read_bytes()).hexdigest()
        execute(database, "UPDATE ap_checkpoint SET state = replace(state, ?, ?)", before, after)
    connection.close()
    (project / "steps" / "result.json").unlink()
    words = ("steps.yaml", "--out", "steps", "--trials", "3", "--if-exists", "resume")
    code, _, err = run_autoprune("search", *words)
    assert not (project / CANARY).exists()
    assert code == 2, err
    assert "is no state that this version wrote" in err


def header_of(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


HEADERS = {
    "longer than the file": (2**62).to_bytes(8, "little") + b"{}",
    "code": header_of('{"__import__(\\"os\\").system(\\"touch was_run\\")": 1}'),
    "no JSON": header_of("{'a': 1"),
    "deep": header_of("[" * 5000),
    "tensors outside": header_of(
        '{"head.bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 99999]}}'
    ),
    "overlap": header_of(
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
        '"b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    )
    + bytes(4),
    "endless shape": header_of(
        '{"a": {"dtype": "F32", "shape": [4611686018427387904, 16], "data_offsets": [0, 0]}}'
    ),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_of_weights_is_told(name: str, project: Path) -> None:
    weights = project / "run" / "weights.safetensors"
    weights.write_bytes(HEADERS[name])
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    change(project / "run" / "plan.json", weights_sha256=sha256)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        autoprune.load(project / "run", model=build(project))
    model = build(project)()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_checkpoint(weights, model)
    assert not (project / CANARY).exists()


def test_tensors_of_other_kinds_are_told(project: Path) -> None:
    weights = project / "run" / "weights.safetensors"
    tensors = load_file(weights)
    save_file(
        {name: one.to(torch.float64).flatten()[:1] for name, one in tensors.items()}, weights
    )
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    change(project / "run" / "plan.json", weights_sha256=sha256)
    with pytest.raises(InputError, match="do not fit"):
        autoprune.load(project / "run", model=build(project))


@pytest.mark.parametrize("folder", ["../secret", "/etc", "..", "point-1/../../secret", "a\\b"])
def test_a_front_leads_nowhere_else(folder: str, project: Path, run_autoprune: Run) -> None:
    secret = project / "secret"
    shutil.copytree(project / "front" / "point-1", secret)
    change(secret / "result.json", metric="a-secret-metric")
    front = json.loads((project / "front" / "front.json").read_text())
    front["points"][0]["folder"] = folder
    (project / "front" / "front.json").write_text(json.dumps(front))
    code, _, err = run_autoprune("report", "front", "--out", "told.html")
    assert code == 0, err
    assert "a-secret-metric" not in (project / "told.html").read_text()
