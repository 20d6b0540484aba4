"""What benchmarks share: a store that survives, jobs that cannot stop the others, figures."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults.processes import wait_until
from benchmarks.isolated import Note, run_isolated
from benchmarks.provenance import CHECKOUT, code_of, commit, machine
from benchmarks.store import Key, Reuse, Store, recipe_of
from benchmarks.surgery.figures import cause, figures, is_ok
from benchmarks.surgery.table import write_table
from benchmarks.surgery.zoo import zoo
from benchmarks.work import Results, Task, run_all

KEY = Key(kind="ours", name="net", recipe="r", code="c")
RIGHT = {"traced": True, "forward": True, "equal": True, "round_trip": True, "seconds": 1.0}


def test_a_store_gives_back_what_was_put(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep")
    assert store.get(KEY) is None
    store.put(KEY, {"gap": 0.5})
    assert store.get(KEY) == {"gap": 0.5}


@pytest.mark.parametrize(
    ("reuse", "other_code", "other_recipe", "same"),
    [("same", False, False, True), ("any", True, False, True), ("none", False, False, False)],
)
def test_which_results_are_reused(
    tmp_path: Path, reuse: Reuse, other_code: bool, other_recipe: bool, same: bool
) -> None:
    Store(tmp_path).put(KEY, {"gap": 0.5})
    store = Store(tmp_path, reuse)
    old = Key(kind="ours", name="net", recipe="r", code="older")
    changed = Key(kind="ours", name="net", recipe="other", code="c")
    assert (store.get(old) is not None) is other_code
    assert (store.get(changed) is not None) is other_recipe
    assert (store.get(KEY) is not None) is same


def test_a_damaged_result_is_done_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(KEY, {"gap": 0.5})
    (tmp_path / "ours" / "net.json").write_text('{"key": {"ki', encoding="utf-8")
    assert store.get(KEY) is None


def test_recipes_tell_arguments_apart() -> None:
    assert recipe_of({"a": 1, "b": 2}) == recipe_of({"b": 2, "a": 1}) != recipe_of({"a": 1})


def fails(note: Note, word: str) -> None:
    note(stage="speak", heard=word)
    raise ValueError(f"no {word}\nmore")


def dies(note: Note) -> None:
    note(stage="die")
    os._exit(3)


def sleeps(note: Note) -> None:
    note(stage="sleeps")
    time.sleep(60)


def spins(note: Note) -> None:
    note(stage="spins")
    while time.monotonic():
        pass


@pytest.mark.slow
def test_a_job_that_fails_keeps_what_it_noted() -> None:
    facts = run_isolated(fails, {"word": "hello"}, limit=60)
    assert facts["heard"] == "hello"
    assert facts["failure"] == "ValueError: no hello more"
    assert facts["where"].startswith(f"{__name__}.fails, line ")


@pytest.mark.slow
def test_a_job_that_dies_or_hangs_is_told() -> None:
    assert run_isolated(dies, {}, limit=60)["failure"] == "died with exit code 3"
    for job in (spins, sleeps):
        facts = run_isolated(job, {}, limit=0.1)
        assert (facts["stage"], facts["failure"]) == (job.__name__, "took longer than 0.1 s")


_OUTLIVED = """
import signal, sys
sys.path.append(sys.argv[1])
from test_benchmarks import tidies
from benchmarks.faults.processes import wait_until
from benchmarks.isolated import run_isolated
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    run_isolated(tidies, {"folder": sys.argv[2]}, limit=600)
"""


def tidies(note: Note, folder: str) -> None:
    note(stage="tidies")
    try:
        Path(folder, "begun").touch()
        time.sleep(600)
    finally:
        Path(folder, "tidied").touch()


@pytest.mark.slow
def test_a_job_tidies_up_when_its_benchmark_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_OUTLIVED, encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, env=env) as benchmark:
        assert wait_until((tmp_path / "begun").exists, 200)
        benchmark.kill()
    assert wait_until((tmp_path / "tidied").exists, 50)


def test_tasks_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    task = Task(kind="ours", name="net", job=sleeps, arguments={}, limit=1, code="c")
    Store(tmp_path).put(task.key, {"gap": 0.5})
    assert run_all([task], Store(tmp_path), "abc") == {"ours": {"net": {"gap": 0.5}}}


@pytest.mark.slow
def test_what_is_known_is_told_after_each_task(tmp_path: Path) -> None:
    first, last, more = (
        Task(kind="ours", name=name, job=fails, arguments={"word": name}, limit=60, code="c")
        for name in ("first", "last", "more")
    )
    told: list[Results] = []
    run_all([first, last], Store(tmp_path), "abc", told.append)
    found = run_all([first, last, more], Store(tmp_path), "abc", told.append)
    known = [[name for name, facts in one["ours"].items() if facts] for one in told]
    two = ["first", "last"]
    assert known == [["first"], two, two, [*two, "more"]], "what was done before, at once"
    assert told[-1] == found


def test_figures_of_hand_made_results(tmp_path: Path) -> None:
    seconds = {"apply_s": 0.1, "trace_s": 0.3, "ranked_s": 0.2}
    results: Results = {
        "ours": {
            "a": {**RIGHT, "prunable": 1.0, "onnx": True},
            "b": {**RIGHT, "prunable": 0.5, "onnx": False},
            "c": {"traced": True, "prunable": 0.9, "stage": "forward", "failure": "E: x"},
            "d": {"stage": "discover", "failure": "took longer than 600 s"},
        },
        "theirs_expert": {"a": {"right": True, "runs": True}, "b": {"runs": True, "failure": "E"}},
        "build": {
            "resnet50": {**seconds, "theirs_s": 2.0},
            "vit_b_16": {**seconds, "theirs_s": 0.4},
        },
        "memory": {
            "resnet50": {
                "dense_bytes": 100,
                "candidate_bytes": 50,
                "torch_peak_bytes": 57,
                "python_peak_bytes": 3,
            }
        },
    }
    found = figures(results)
    assert found["zoo_models"] == 4
    assert found["zoo_ok_share"] == 0.5
    assert (found["zoo_prunable_median"], found["zoo_prunable_min"]) == (0.7, 0.0)
    assert (found["onnx_ok"], found["onnx_tried"]) == (1, 2)
    assert (found["tp_ok_share"], found["tp_expert_runs_share"]) == (0.5, 1.0)
    assert found["tp_obvious_ok_share"] is None
    assert found["build_speedup_resnet50"] == pytest.approx(20)
    assert found["build_speedup_resnet50_with_trace"] == pytest.approx(5)
    assert found["build_speedup_deeplabv3"] is None
    assert found["build_speedup_min"] == pytest.approx(4)
    assert found["candidate_memory_ratio"] == pytest.approx(1.0)
    write_table(tmp_path / "deep" / "surgery.json", results, {"figures": found})
    table = json.loads((tmp_path / "deep" / "surgery.json").read_text(encoding="utf-8"))
    assert table["models"]["c"]["cause"] == "forward: E: x"
    assert table["models"]["b"]["theirs_expert"]["cause"] == "start: E"


def test_a_model_is_ok_only_if_every_step_is_right() -> None:
    assert is_ok(RIGHT)
    assert not any(is_ok({**RIGHT, step: False}) for step in ("traced", "equal", "round_trip"))
    assert not is_ok({**RIGHT, "failure": "died", "stage": "onnx"})
    assert cause({"failure": "E: x", "where": "m.f, line 3"}) == "start: E: x (m.f, line 3)"


def test_the_zoo_holds_what_the_goal_asks_for() -> None:
    sources = [model.source for model in zoo()]
    assert sources.count("segmentation") == 4
    assert sources.count("detection") == 6
    assert sources.count("timm") >= 40
    assert len({model.title for model in zoo()}) == len(sources)
    assert sum(model.onnx for model in zoo()) >= 25
    assert 0 < len(zoo(quick=True)) < 10


def test_provenance_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    assert {"processor", "cores", "torch"} <= machine().keys()
    assert os.fspath(Path.cwd()) not in json.dumps([machine(), commit()])
    assert code_of("benchmarks") != code_of("benchmarks/store.py")
    with pytest.raises(FileNotFoundError, match="Name what is"):
        code_of("benchmarks", "benchmarks/moved_away.py")
