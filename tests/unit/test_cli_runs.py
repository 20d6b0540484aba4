"""``autoprune runs``: what a database knows of runs, seen from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from autoprune.agent.housing.heart import Heart
from autoprune.agent.housing.home import Home
from autoprune.agent.housing.listed import find_listed
from autoprune.agent.housing.workspace import STUDY, Workspace
from autoprune.agent.loop.trials import Told, abandon, tell_all
from autoprune.agent.run import kept_evaluations
from autoprune.core.heartbeat import HEARTBEAT, Heartbeat
from autoprune.core.policy import Choice, Policy
from autoprune.core.processes import process_of, this_host, this_process
from autoprune.core.progress import Progress
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.reporting.text import share_text
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.models import AgentRow
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.shared import shared_database
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import begin_trials

Run = Callable[..., tuple[int, str, str]]
CONFIG = {"budget": {"macs": "50%"}, "trials": 9, "seed": 0}


def evaluation(number: int, outcome: str = "scored") -> tuple[EvaluationKey, Evaluation]:
    policy = Policy({"a": Choice("channel.l1", number / 10)})
    key = EvaluationKey("model", "data", policy.fingerprint, outcome)
    quality, score = 0.5 + number / 100, 1 - number / 100
    return key, Evaluation(policy, outcome, score, quality, 1.0, 1.0)


def tell(file: Path, *found: tuple[Evaluation, float], limit: float = 0.0) -> None:
    """End a trial for each evaluation and its MACs; they are above a limit by ``limit``."""
    study = open_study(sqlite_url(file), STUDY)
    many = len(found)
    trials = begin_trials(study, [{}] * many, {}, [{}] * many, [{"macs <= 50%": limit}] * many)
    tell_all(
        [
            Told(trial, one, {"macs": macs})
            for trial, (one, macs) in zip(trials, found, strict=True)
        ]
    )
    close_study(study)


@pytest.fixture
def shared() -> Iterator[Database]:
    with shared_database() as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, shared: Database) -> Path:
    """Return the folder of a run with two evaluations and a finalist, which others may use."""
    folder = tmp_path / "runs" / "night"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(CONFIG))
    with Database.open(sqlite_url(folder / "autoprune.db")) as own:
        run = own.start_run(STUDY, CONFIG, "model", "data")
        for key, found in [*map(evaluation, (1, 2)), evaluation(1, "recovered")]:
            own.record_evaluation(run, key, found)
            shared.record_evaluation(None, key, found)
    tell(folder / "autoprune.db", (evaluation(1)[1], 40), (evaluation(2)[1], 48))
    shared.start_run(str(folder), CONFIG, "model", "data")
    return folder


def run_id(shared: Database, folder: Path) -> int:
    found = shared.find_run(str(folder))
    assert found is not None
    return found.id


def join(shared: Database, folder: Path) -> str:
    """Let this process be an agent of the run."""
    own = this_process()
    return Agents(shared).join(run_id(shared, folder), this_host(), own)


def join_elsewhere(shared: Database, folder: Path, silent: float) -> str:
    """Let a process of another machine be an agent that was silent for some seconds."""
    agent = Agents(shared).join(run_id(shared, folder), "elsewhere x", "7@1")
    with shared.transaction() as session:
        at = datetime.now(UTC) - timedelta(seconds=silent)
        session.execute(update(AgentRow).filter_by(id=agent).values(beaten_at=at))
    return agent


def listed(run_autoprune: Run) -> list[dict[str, Any]]:
    code, out, _ = run_autoprune("runs", "list", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_a_run_is_listed_with_what_it_has(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    (one,) = listed(run_autoprune)
    assert one["name"] == "night"
    assert one["folder"] == str(folder)
    assert (one["state"], one["evaluations"], one["agents"]) == ("stopped", 2, 0)
    text = run_autoprune("runs", "list")[1]
    assert "night" in text
    assert str(folder) in text


def test_evaluations_are_counted_as_in_the_report(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    """Stopped and failed ones count; finalists, and what was given back, do not."""
    stopped, failed = (replace(evaluation(n)[1], loss=None, score=None) for n in (3, 4))
    ends = (replace(stopped, outcome="stopped: early"), replace(failed, outcome="failed: NaN"))
    tell(folder / "autoprune.db", *((one, 40) for one in ends))
    study = open_study(sqlite_url(folder / "autoprune.db"), STUDY)
    for trial in begin_trials(study, [{}, {}], {}, [{}, {}])[1:]:  # the first one still runs
        abandon(trial)
    close_study(study)
    assert listed(run_autoprune)[0]["evaluations"] == 4
    assert kept_evaluations(folder) == 4


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stopped_run_tells_what_was_best_inside_the_limits(
    run_autoprune: Run, folder: Path, shared: Database, sign: int
) -> None:
    file = folder / "autoprune.db"
    tell(file, (evaluation(9)[1], 60), limit=0.2)
    (before,) = listed(run_autoprune)
    assert (before["quality"], before["macs_share"]) == (None, None), "an older run"
    with Database.open(sqlite_url(file)) as own:
        found = own.find_run(STUDY)
        assert found is not None
        kept = Yardstick(higher_is_better=sign > 0, dense_macs=100).to_dict()
        Runs(own).keep(found.id, YARDSTICK, kept)
    (one,) = listed(run_autoprune)
    assert (one["state"], one["quality"], one["macs_share"]) == ("stopped", sign * 0.52, 0.48)
    agent = join(shared, folder)  # it has just begun, and told nothing yet
    assert listed(run_autoprune)[0]["quality"] == sign * 0.52
    Agents(shared).beat(agent, {"best_quality": 0.9, "feasible_macs": 0.5})
    assert listed(run_autoprune)[0]["quality"] == 0.9


def test_of_a_run_that_looks_for_the_smallest_its_last_words_are_told(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    """Its best score is the largest model's."""
    with Database.open(sqlite_url(folder / "autoprune.db")) as own:
        found = own.find_run(STUDY)
        assert found is not None
        Runs(own).begin(found.id, CONFIG | {"tolerance": "1 points"}, str(folder))
        Runs(own).keep(found.id, YARDSTICK, Yardstick(dense_macs=100).to_dict())
    assert listed(run_autoprune)[0]["quality"] is None
    beat = Heartbeat(1.0, 1, {"best_quality": 0.7, "feasible_macs": 0.4})
    (folder / HEARTBEAT).write_text(beat.to_json())
    assert listed(run_autoprune)[0]["quality"] == 0.7
    agent = join_elsewhere(shared, folder, silent=500)
    with shared.transaction() as session:
        told = {"best_quality": 0.8, "feasible_macs": 0.3}
        session.execute(update(AgentRow).filter_by(id=agent).values(status=told))
    (one,) = listed(run_autoprune)
    assert (one["state"], one["quality"], one["macs_share"]) == ("stopped", 0.8, 0.3)


def test_a_run_is_running_while_an_agent_lives_and_tells_how_far_it_is(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    agent = join(shared, folder)
    status = {"stage": "search", "done": 3, "total": 9, "best_quality": 0.9, "feasible_macs": 0.5}
    Agents(shared).beat(agent, status)
    (one,) = listed(run_autoprune)
    assert (one["state"], one["agents"]) == ("running", 1)
    assert (one["quality"], one["macs_share"]) == (0.9, 0.5)
    assert "search 3 of 9" in run_autoprune("runs", "show", "night")[1]
    Agents(shared).remove(agent)
    assert listed(run_autoprune)[0]["state"] == "stopped"


def test_agents_are_shown_as_rows_and_living_ones_are_counted(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    dead, living = join_elsewhere(shared, folder, silent=900), join(shared, folder)
    with shared.transaction() as session:
        told = {"stage": "search", "done": 3, "total": 9}
        session.execute(update(AgentRow).values(status=told))
    text = run_autoprune("runs", "show", "night")[1]
    (count,) = [line.split() for line in text.splitlines() if line.startswith("agents alive")]
    assert count == ["agents", "alive", "1"]
    rows = [line.split() for line in text.splitlines() if line.endswith("search 3 of 9")]
    places = [(row[2], row[3]) for row in rows]
    assert places == [(str(os.getpid()), "yes"), ("7", "no")]
    assert not any(word in text for word in ("{'", "status", "lives", dead, living))
    content = json.loads(run_autoprune("runs", "show", "night", "--json")[1])
    beats = {one["id"]: one["last_beat"] for one in content["agents"]}
    assert rows[1][-5] == beats[dead]


@pytest.mark.parametrize("share", [0.49646, 0.5])
def test_shares_of_macs_are_those_of_the_report(
    run_autoprune: Run, folder: Path, shared: Database, share: float
) -> None:
    Agents(shared).beat(join(shared, folder), {"best_quality": 0.9, "feasible_macs": share})
    for words in (("list",), ("show", "night")):
        assert share_text(share, 1.0) in run_autoprune("runs", *words)[1]
    assert share_text(0.49646, 1.0) == "49.7%", "no limit is hidden"


@pytest.mark.parametrize(("silent", "state"), [(5, "running"), (-5, "running"), (900, "stopped")])
def test_an_agent_elsewhere_lives_if_it_beat_lately(
    run_autoprune: Run, folder: Path, shared: Database, silent: float, state: str
) -> None:
    join_elsewhere(shared, folder, silent)
    assert listed(run_autoprune)[0]["state"] == state


def test_a_finished_run_tells_its_result(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    result = {"quality_search": 0.75, "macs": 30}
    content = {"dense": {"macs": 100}, "pruned": result, "higher_is_better": True}
    (folder / "result.json").write_text(json.dumps(content))
    Runs(shared).finish(run_id(shared, folder), {"folder": str(folder), "host": "here"})
    (one,) = listed(run_autoprune)
    assert (one["state"], one["quality"], one["macs_share"]) == ("finished", 0.75, 0.3)
    text = run_autoprune("runs", "list")[1]
    assert "75.00%" in text
    assert "30.0%" in text


def work(shared: Database, folder: Path, *, finishes: bool = True) -> Generator[None]:
    """Go on with a run, up to where it would search; then finish it if that is asked for."""
    workspace = Workspace(folder, "resume")
    home = Home(shared=shared, workspace=workspace, name="night", if_exists="resume")
    entered = home.entered(CONFIG, finishes=finishes, model_fp="model", data_fp="data")
    with workspace.hold(), entered as lodging:
        yield
        lodging.finish({"folder": str(folder), "host": "here"})


def test_a_finished_run_that_is_gone_on_with_and_cut_off_is_stopped(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    def states() -> list[str]:
        known = json.loads(run_autoprune("runs", "show", "night", "--json")[1])
        Runs(shared).remove(run_id(shared, folder))
        alone = json.loads(run_autoprune("runs", "show", str(folder), "--json")[1])
        shared.start_run(str(folder), CONFIG, "model", "data")
        return [known["state"], alone["state"]]

    (folder / "result.json").write_text('{"dense": {}, "pruned": {}}')
    assert list(work(shared, folder)) == [None]
    assert states() == ["finished", "finished"]
    assert list(work(shared, folder)) == [None]
    cut_off = work(shared, folder)
    next(cut_off)
    assert listed(run_autoprune)[0]["state"] == "running"
    cut_off.close()
    (folder / HEARTBEAT).write_text(Heartbeat(1.0, 1).to_json())
    assert states() == ["stopped", "stopped"]


def test_a_run_on_a_server_tells_its_folder_from_the_start(
    run_autoprune: Run, folder: Path, shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "is_server", True)
    at_work = work(shared, folder)
    next(at_work)
    (one,) = [one for one in listed(run_autoprune) if one["name"] == "night"]
    assert (one["state"], one["folder"], one["folder_is_here"]) == ("running", str(folder), True)
    at_work.close()
    helping = work(shared, folder.parent / "of another", finishes=False)
    next(helping)
    helping.close()
    (one,) = [one for one in listed(run_autoprune) if one["name"] == "night"]
    assert (one["state"], one["folder"]) == ("stopped", str(folder)), "an agent only helps"


def test_the_model_that_a_run_returns_is_shown_first(tmp_path: Path) -> None:
    """Of finalists the search takes the one of the highest quality, whatever its loss."""
    (tmp_path / "run.json").write_text("{}")
    found = [("scored", 0.1, 0.5), ("recovered", 0.2, 0.7), ("recovered", 0.3, 0.9)]
    with Database.open(sqlite_url(tmp_path / "autoprune.db")) as database:
        run = database.start_run(STUDY, {}, "m", "d")
        for at, (outcome, loss, quality) in enumerate(found):
            one = Evaluation(Policy({}), outcome, loss, quality, 1.0, 1.0)
            database.record_evaluation(run, EvaluationKey("m", "d", str(at), "e"), one)
    best = find_listed(str(tmp_path), None).best(3)
    assert [one.quality for one in best] == [0.9, 0.7, 0.5]


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_run_is_shown_by_name_and_by_folder(
    run_autoprune: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    code, out, _ = run_autoprune(
        "runs", "show", {"name": "night", "path": "runs/night"}[by], "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["settings"] == CONFIG
    assert [one["outcome"] for one in found["best"]] == ["recovered", "scored", "scored"]
    assert found["best"][1]["score"] < found["best"][2]["score"]
    text = run_autoprune("runs", "show", str(folder))[1]
    assert "recovered" in text
    assert "macs" in text


def test_a_folder_that_no_database_knows_is_shown_but_not_removed(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    Runs(shared).remove(run_id(shared, folder))
    code, out, _ = run_autoprune("runs", "show", str(folder), "--json")
    assert (code, json.loads(out)["evaluations"]) == (0, 2)
    code, _, err = run_autoprune("runs", "rm", str(folder))
    assert (code, "No database knows" in err) == (2, True)


def test_unknown_and_ambiguous_names_are_told(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    code, _, err = run_autoprune("runs", "show", "nigth")
    assert (code, "Did you mean 'night'?" in err) == (2, True)
    shared.start_run("/elsewhere/night", CONFIG, "model", "data")
    code, _, err = run_autoprune("runs", "rm", "night")
    assert (code, f"{folder}, /elsewhere/night" in err) == (2, True)


def test_a_removed_run_leaves_its_folder_and_its_evaluations(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"}
    code, out, _ = run_autoprune("runs", "rm", "night")
    assert code == 0
    assert f"Its folder {folder} is left" in out
    assert Runs(shared).all() == []
    assert shared.find_evaluation(evaluation(1)[0]) is not None
    assert before == {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"
    }
    with Database.open(sqlite_url(folder / "autoprune.db")) as own:
        assert own.find_run(STUDY) is not None


def test_evaluations_are_removed_if_asked_for(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    key, found = evaluation(7)
    shared.record_evaluation(None, key, found)
    code, out, _ = run_autoprune("runs", "rm", "night", "--evaluations", "--json")
    assert code == 0
    assert json.loads(out) == {
        "removed": "night",
        "evaluations_removed": 3,
        "folder_left": str(folder),
    }
    assert shared.find_evaluation(evaluation(1)[0]) is None
    assert shared.find_evaluation(key) == found, "another run scored it"


def test_evaluations_of_a_folder_that_is_gone_cannot_be_told(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    (folder / "run.json").unlink()
    code, _, err = run_autoprune("runs", "rm", "night", "--evaluations")
    assert (code, "Leave out --evaluations" in err) == (2, True)
    assert len(Runs(shared).all()) == 1
    assert run_autoprune("runs", "rm", "night")[0] == 0


def test_a_run_with_living_agents_is_removed_by_force_only(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    join(shared, folder)
    code, _, err = run_autoprune("runs", "rm", "night")
    assert (code, f"process {os.getpid()}" in err, "--force" in err) == (2, True, True)
    assert run_autoprune("runs", "rm", "night", "--force")[0] == 0
    assert Agents(shared).all() == []


@pytest.mark.parametrize("beats", [True, False])
def test_whose_clock_is_wrong_is_watched_before_a_run_is_removed(
    run_autoprune: Run,
    folder: Path,
    shared: Database,
    monkeypatch: pytest.MonkeyPatch,
    beats: bool,
) -> None:
    agent = join_elsewhere(shared, folder, silent=4000)
    watched: list[float] = []

    def sleep(seconds: float) -> None:
        watched.append(seconds)
        if beats:
            Agents(shared).beat(agent, {})

    monkeypatch.setattr("autoprune.agent.housing.presence.time.sleep", sleep)
    assert run_autoprune("runs", "rm", "night")[0] == (2 if beats else 0)
    assert watched == [15.0]


def test_without_a_database_nothing_is_made(run_autoprune: Run, tmp_path: Path) -> None:
    code, out, err = run_autoprune("runs", "list", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert "there is no database" in err
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_of_a_folder_is_young_or_not(run_autoprune: Run, tmp_path: Path) -> None:
    told = Progress(stage="search", done=4, total=9)
    for age, expected in ((5, 0), (500, 1), (-500, 1)):
        status = {"stage": told.stage, "done": told.done, "total": told.total}
        beat = Heartbeat(time.time() - age, os.getpid(), status)
        (tmp_path / HEARTBEAT).write_text(beat.to_json())
        code, out, _ = run_autoprune("runs", "status", str(tmp_path), "--max-age", "120s")
        assert code == expected
        assert len(out.splitlines()) == 1
    assert run_autoprune("runs", "status", str(tmp_path), "--max-age", "10m")[0] == 0
    code, out, _ = run_autoprune("runs", "status", str(tmp_path), "--json", "--max-age", "10m")
    assert json.loads(out)["beats"]
    assert json.loads(out)["status"]["done"] == 4


@pytest.fixture
def killed() -> tuple[int, str]:
    """Return number and identity of a process of this machine that was killed."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_of(child.pid)
    child.kill()
    child.communicate()
    return child.pid, identity


def test_a_process_of_this_machine_that_is_gone_works_no_more(
    run_autoprune: Run, folder: Path, shared: Database, killed: tuple[int, str]
) -> None:
    """Its last beat may be as young as it likes."""
    Runs(shared).remove(run_id(shared, folder))
    status = {"stage": "search", "done": 4, "total": 9}
    for host, age, expected in ((this_host(), 1, 1), ("elsewhere", 1, 0), ("elsewhere", 200, 1)):
        beat = Heartbeat(time.time() - age, killed[0], status, host, killed[1])
        (folder / HEARTBEAT).write_text(beat.to_json())
        code, out, _ = run_autoprune("runs", "status", str(folder))
        assert code == expected
        assert (f"its process {killed[0]} is gone from this machine" in out) == (age + code == 2)
        told = json.loads(run_autoprune("runs", "status", str(folder), "--json")[1])
        assert (told["beats"], told["process_is_gone"]) == (not code, host == this_host())
        shown = json.loads(run_autoprune("runs", "show", str(folder), "--json")[1])
        assert shown["state"] == ("stopped" if code else "running")


def test_a_heart_tells_which_process_beats(run_autoprune: Run, tmp_path: Path) -> None:
    with Heart(tmp_path):
        assert run_autoprune("runs", "status", str(tmp_path))[0] == 0
        beat = Heartbeat.of(tmp_path)
    assert beat is not None
    assert (beat.host, beat.identity) == (this_host(), this_process())


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"at": "x", "process": 1}'])
def test_no_heartbeat_is_no_life(run_autoprune: Run, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / HEARTBEAT).write_text(content)
    assert run_autoprune("runs", "status", str(tmp_path))[0] == 1
    assert run_autoprune("runs", "status", str(tmp_path / "not" / "begun"))[0] == 1
    code, _, err = run_autoprune("runs", "status", str(tmp_path), "--max-age", "soon")
    assert (code, "--max-age" in err) == (2, True)


def test_the_name_of_a_run_stands_for_its_folder(
    run_autoprune: Run, folder: Path, shared: Database
) -> None:
    assert run_autoprune("runs", "status", "night")[0] == 1
    (folder / HEARTBEAT).write_text(Heartbeat(time.time(), os.getpid()).to_json())
    assert run_autoprune("runs", "status", "night")[0] == 0


def test_a_probe_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / HEARTBEAT).write_text(Heartbeat(time.time(), 1).to_json())
    code = (
        "import sys; sys.argv = ['autoprune', 'runs', 'status', sys.argv[1]]\n"
        "from autoprune.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'optuna', 'ray', 'numpy', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
