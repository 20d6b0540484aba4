"""The folder of a run: whose it is, what may change, and what is never touched."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoprune.agent.housing import hold
from autoprune.agent.housing.heart import Heart
from autoprune.agent.housing.workspace import IfExists, Workspace
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.errors import ElsewhereError, InfrastructureError, OutputError, RunExistsError

CONFIG = {"seed": 0, "trials": 4, "budget": {"macs": "50%"}, "space": {"sparsities": [0.5]}}
OURS = (
    *("run.json", "autoprune.db", "autoprune.db-wal", "result.json", "policy.json", "model.onnx"),
    *("report.md", "report.html", "front.html", "plan.json", "weights.safetensors"),
    *("finalist-0123456789ab.safetensors", ".result.json.partial", "run.lock"),
)
HOLDER = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1] + "/run.lock"):
    print("held", flush=True)
    sys.stdin.read()
"""


def session(folder: Path, if_exists: IfExists, config: dict[str, Any] = CONFIG) -> None:
    """Do what a search does with its folder before it stores anything."""
    workspace = Workspace(folder, if_exists)
    with workspace.hold():
        workspace.check(config)
        workspace.start(config)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """Return the folder of a run that ended."""
    session(tmp_path / "run", "fail")
    for name in OURS:
        if name not in ("run.json", "run.lock"):
            (tmp_path / "run" / name).write_text(f"old {name}")
    return tmp_path / "run"


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "run.lock"}


@pytest.mark.parametrize("if_exists", ["fail", "resume", "overwrite"])
def test_a_new_folder_is_made_and_its_settings_are_kept(
    tmp_path: Path, if_exists: IfExists
) -> None:
    session(tmp_path / "deep" / "run", if_exists)
    assert json.loads((tmp_path / "deep" / "run" / "run.json").read_text()) == CONFIG


def test_fail_says_how_to_go_on_and_touches_nothing(used: Path) -> None:
    before = content(used)
    with pytest.raises(RunExistsError) as caught:
        session(used, "fail")
    for part in (str(used), "holds a run already. ", "--if-exists resume", "overwrite", "--out"):
        assert part in str(caught.value)
    assert "if_exists=, out= and name= of search in Python" in str(caught.value)
    assert content(used) == before


def test_fail_lists_what_differs(used: Path) -> None:
    with pytest.raises(RunExistsError) as caught:
        session(used, "fail", CONFIG | {"seed": 3, "budget": {"macs": "40%"}})
    listed = "(budget.macs: 50% -> 40%; seed: 0 -> 3)"
    assert f"with other settings {listed}. Add --if-exists overwrite" in str(caught.value)
    with pytest.raises(RunExistsError, match="Add --if-exists resume to go on"):
        session(used, "fail", CONFIG | {"trials": 9})
    with pytest.raises(RunExistsError, match=r"\(data: other samples, transforms or loaders\)"):
        session(used, "fail", CONFIG | {"data": "f00d"})


def test_resume_with_the_same_settings_keeps_everything(used: Path) -> None:
    before = content(used)
    session(used, "resume", json.loads(json.dumps(CONFIG)))
    assert before.pop(".result.json.partial")  # what a killed session left half done
    assert content(used) == before


def test_resume_takes_tuples_for_lists(used: Path) -> None:
    session(used, "resume", CONFIG | {"space": {"sparsities": (0.5,)}})


def test_resume_may_change_the_trials(used: Path) -> None:
    session(used, "resume", CONFIG | {"trials": 9})
    assert json.loads((used / "run.json").read_text())["trials"] == 9
    assert (used / "autoprune.db").read_text() == "old autoprune.db"


def test_runs_from_before_a_setting_go_on_as_they_began(used: Path) -> None:
    session(used, "resume", CONFIG | {"recovery": {"reconstruct": False}})
    with pytest.raises(RunExistsError, match=r"\(recovery\.reconstruct: False -> True\)"):
        session(used, "resume", CONFIG | {"recovery": {"reconstruct": True}})


@pytest.mark.parametrize(
    ("config", "listed"),
    [
        (CONFIG | {"seed": 1, "trials": 9}, "(seed: 0 -> 1)"),
        (CONFIG | {"recovery": {"finalists": 3}}, "(recovery.finalists: automatic -> 3)"),
        (CONFIG | {"device": "x"}, "(device: None -> x)"),
        ({key: CONFIG[key] for key in ("seed", "trials", "space")}, "-> None)"),
    ],
)
def test_resume_with_other_settings_is_refused(
    used: Path, config: dict[str, Any], listed: str
) -> None:
    before = content(used)
    with pytest.raises(RunExistsError, match="cannot be resumed with other settings") as caught:
        session(used, "resume", config)
    assert listed in str(caught.value)
    assert "--if-exists overwrite" in str(caught.value)
    assert "if_exists=, out= and name= of search in Python" in str(caught.value)
    assert content(used) == before


def test_overwrite_deletes_ours_and_nothing_else(used: Path) -> None:
    (used / "notes.txt").write_text("mine")
    (used / "weights").mkdir()
    (used / "weights" / "plan.json").write_text("mine too")
    (used / ".verdict-x.partial").mkdir()
    (used / ".verdict-x.partial" / "weights.safetensors").write_text("half")
    session(used, "overwrite", CONFIG | {"seed": 5})
    left = {path.name for path in used.iterdir()} - {"run.lock"}
    assert left == {"run.json", "notes.txt", "weights"}
    assert json.loads((used / "run.json").read_text())["seed"] == 5
    assert (used / "weights" / "plan.json").read_text() == "mine too"


def test_checking_an_overwrite_deletes_nothing_yet(used: Path) -> None:
    before = content(used)
    workspace = Workspace(used, "overwrite")
    with workspace.hold():
        workspace.check(CONFIG | {"seed": 5})
    assert content(used) == before


def test_an_overwrite_that_is_killed_can_be_told_from_a_run(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the old run may be taken for the new one's."""

    def killed(path: Path, **_: Any) -> None:
        if path.name == "autoprune.db":
            raise KeyboardInterrupt
        os.unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            session(used, "overwrite", CONFIG | {"seed": 5})
    assert (used / "autoprune.db").exists()
    with pytest.raises(RunExistsError):
        session(used, "resume", CONFIG | {"seed": 5})
    session(used, "overwrite", CONFIG | {"seed": 5})
    assert not (used / "autoprune.db").exists()


@pytest.mark.parametrize("if_exists", ["fail", "resume"])
def test_evaluations_without_their_settings_are_refused(used: Path, if_exists: IfExists) -> None:
    (used / "run.json").unlink()
    before = content(used)
    with pytest.raises(RunExistsError, match=r"run\.json.*overwrite"):
        session(used, if_exists)
    assert content(used) == before


@pytest.mark.parametrize("if_exists", ["fail", "resume", "overwrite"])
def test_a_folder_with_foreign_files_is_refused(tmp_path: Path, if_exists: IfExists) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "plan.json").write_text("somebody's plan")
    with pytest.raises(OutputError, match=r"holds other files \(thesis\.tex\).*new or empty one"):
        session(tmp_path, if_exists)
    assert content(tmp_path) == {"thesis.tex": "years of work", "plan.json": "somebody's plan"}


def test_settings_that_cannot_be_read_name_the_file(used: Path) -> None:
    (used / "run.json").write_text("{")
    with pytest.raises(OutputError, match=r"run\.json cannot be read.*another --out"):
        session(used, "resume")


@pytest.mark.parametrize("text", ["[]", "null", '{"port": 80}'])
def test_a_run_json_of_another_program_is_left_alone(used: Path, text: str) -> None:
    (used / "run.json").write_text(text)
    before = content(used)
    with pytest.raises(OutputError, match=r"run\.json holds no settings of a search"):
        session(used, "overwrite")
    assert content(used) == before


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_where_the_folder_should_be(tmp_path: Path, inside: str) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot be written: .*Choose another with --out"):
        session(tmp_path / "run" / inside, "fail")
    assert (tmp_path / "run").read_text() == "a file"


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match=r"cannot be written: Permission denied"):
            session(tmp_path / "run", "fail")
    finally:
        tmp_path.chmod(0o755)


@contextmanager
def held_elsewhere(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_one_process_holds_a_folder_until_it_ends_or_is_killed(used: Path) -> None:
    with held_elsewhere(used) as holder:
        for if_exists in ("fail", "overwrite"):
            with pytest.raises(OutputError, match="Another process works in"):
                session(used, if_exists)
        holder.kill()
        holder.wait()
        session(used, "resume")


def test_what_is_being_done_is_left_to_whoever_is_seen_to_do_it(used: Path) -> None:
    with held_elsewhere(used), Heart(used, beat=0.1):
        with pytest.raises(ElsewhereError, match="leaves it to that"):
            session(used, "resume")
        with pytest.raises(OutputError, match="Another process works in"):
            session(used, "fail")


@pytest.mark.parametrize("age", [None, 0.0, -3600.0], ids=["never", "just now", "in the future"])
def test_a_lock_that_nobody_works_behind_is_told(
    used: Path, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    """Its heartbeat may be young: whoever held it died just now, with its machine."""
    monkeypatch.setattr(hold, "_SILENCE", 0.5)
    if age is not None:
        (used / HEARTBEAT).write_text(Heartbeat(time.time() - age, 17).to_json())
    with held_elsewhere(used), pytest.raises(InfrastructureError, match="nobody was seen to work"):
        session(used, "resume")


def test_a_lock_that_runs_out_while_one_looks_is_taken(used: Path) -> None:
    with held_elsewhere(used) as holder:
        killer = threading.Timer(0.5, holder.kill)
        killer.start()
        session(used, "resume")
        killer.join()


def test_whoever_holds_a_folder_beats_in_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "resume")
    with workspace.hold():
        beat = Heartbeat.of(tmp_path)
        assert beat is not None
        assert (beat.process, beat.age < 60) == (os.getpid(), True)
    assert Heartbeat.of(tmp_path) is None


def test_a_folder_is_free_again_after_an_error(used: Path) -> None:
    for _ in range(2):
        with pytest.raises(RunExistsError):
            session(used, "fail")
