"""A search that is killed with SIGKILL, wherever it is, ends as if nobody had touched it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import autoprune
from autoprune.agent.evaluating.outcomes import is_stopped
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.files import sha256_of
from autoprune.core.imports import load_object
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress
from autoprune.evaluation.scoring.score import Score
from autoprune.evaluation.scoring.scorer import Scorer, Watch
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

TRIALS = 12  # TPE starts to learn after 10
# Where to kill -> evaluations that are stored then
MOMENTS = {
    "before the first score": 0,
    "after 3 scores": 3,
    "after score 4 was paid and before it is recorded": 3,
    "after score 5 was recorded and before it is told": 5,
    "after score 11 was recorded and before it is told": 11,
    "after the last score": 12,
    "after a finalist's weights were written and before they are recorded": 12,
    "after the first finalist": 12,
    "before the result is checked": 12,
    "while the result's files are put in place": 12,
    "before result.json is written": 12,
    "before the report is written": 12,
}
SETTINGS = f"""
import os
import torch
import autoprune
from autoprune.core.imports import load_object

def run(project, out, progress):
    return autoprune.search(
        load_object("code.py:net", base=project)(),
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget="macs=50%", trials={TRIALS}, onnx=False, constructor="code.py:net", out=out,
        if_exists="resume", runner=f"file:{{project / 'runner.yaml'}}", progress=progress,
        database=f"{{out}}.db",  # whoever comes second would find the sensitivity table paid for
        recovery=autoprune.Recovery(
            score_steps=4, recover_steps=12, finalists=2, calibration_batches=2,
            stages=((0.5, 1), (1, 1)),
        ),
    )
"""
KILLER = """
import os, signal, sys
from pathlib import Path
import settings

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(place, name, count, chosen=lambda *args: True):
    call, calls = getattr(place, name), []
    def counted(*args, **kwargs):
        found = call(*args, **kwargs)
        calls.extend([1] if chosen(*args) else [])
        if len(calls) == count:
            die()
        return found
    setattr(place, name, counted)

def before(place, name, chosen):
    call = getattr(place, name)
    def guarded(*args, **kwargs):
        if chosen(*args):
            die()
        return call(*args, **kwargs)
    setattr(place, name, guarded)

def arm(moment):
    from autoprune import search_reports
    from autoprune.agent.results import result
    from autoprune.agent.evaluating import finalist
    from autoprune.agent.loop import loop
    from autoprune.evaluation.scoring.scorer import Scorer
    from autoprune.storage.database import Database
    stops = {
        "before the first score": ("search", 0), "after 3 scores": ("search", 3),
        "after the last score": ("search", %(trials)d), "after the first finalist": ("recover", 1),
        "before the result is checked": ("verify", 0),
    }
    words = moment.split()
    if moment in stops:
        return lambda event: die() if (event.stage, event.done) == stops[moment] else None
    if words[1] == "score" and "paid" in words:
        after(Scorer, "score", int(words[2]))
    elif words[1] == "score":
        number = int(words[2]) - 1
        before(loop, "tell_all", lambda told: any(one.trial.number == number for one in told))
    elif "finalist's" in words:
        after(finalist, "save_weights", 1)
    elif words[0] == "while":
        after(os, "replace", 1, lambda a, b: ".verdict" in str(a) and ".verdict" not in str(b))
    elif "result.json" in words:
        before(result, "write_text", lambda path, text: path.name == "result.json")
    else:
        before(search_reports, "write_text", lambda path, text: path.name == "report.md")
    return lambda event: None

def main(project, moments):
    import autoprune.search_reports
    for number, moment in enumerate(moments):
        child = os.fork()
        if child == 0:
            settings.run(project, project / f"run{number}", arm(moment))
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, moment

if __name__ == "__main__":
    main(Path.cwd(), sys.argv[1:])
""" % {"trials": TRIALS}  # noqa: UP031


def resume(project: Path, name: str, progress: Any = lambda event: None) -> SearchResult:
    run = load_object("settings.py:run", base=project)
    found: SearchResult = run(project, project / name, progress)
    return found


@pytest.fixture(scope="module")
def killed(user_folder: Path) -> Path:
    """Return a folder with one killed run for each moment, and one that nobody disturbed."""
    (user_folder / "settings.py").write_text(SETTINGS)
    (user_folder / "killer.py").write_text(KILLER)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "killer.py", *MOMENTS],
        cwd=user_folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        resume(user_folder, "undisturbed")
    return user_folder


def stored(folder: Path) -> list[Evaluation]:
    """Return the scores a run stored; none if it did not get so far."""
    if not (folder / "autoprune.db").exists():
        return []
    with Database.open(sqlite_url(folder / "autoprune.db")) as database:
        run = database.find_run("autoprune")
        found = database.evaluations(run.id) if run else []
    return [one for one in found if one.outcome == "scored" or is_stopped(one)]


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    content["search"].pop("seconds")
    return content


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_as_if_undisturbed(
    killed: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"run{list(MOMENTS).index(moment)}"
    folder, reference = killed / name, killed / "undisturbed"
    before = stored(folder)
    assert len(before) == MOMENTS[moment]
    complete = moment == "before the report is written"
    assert (folder / "result.json").exists() == complete
    asked: list[Policy] = []
    events: list[Progress] = []
    score = Scorer.score

    def counted(
        self: Scorer, policy: Policy, steps: int, watch: Watch | None = None
    ) -> tuple[torch.nn.Module, Score]:
        if steps == 4:
            asked.append(policy)
        return score(self, policy, steps, watch)

    monkeypatch.chdir(killed)
    monkeypatch.setattr(Scorer, "score", counted)
    resume(killed, name, events.append)

    # the count goes on, and nothing is paid for twice
    after = stored(folder)
    assert after[: len(before)] == before
    assert [evaluation.policy for evaluation in after[len(before) :]] == asked
    assert len({evaluation.policy.fingerprint for evaluation in after}) == len(after) == TRIALS
    counts = [event.done for event in events if event.stage == "search"]
    if complete:
        assert counts == [], "what was finished is only returned"
    else:
        assert counts[0] in (len(before), len(before) - 1)  # one may be known, but not told
        assert counts == list(range(counts[0], TRIALS + 1))

    # the outcome is the one of a run that nobody killed
    whole = stored(reference)
    assert [(e.policy, e.loss, e.quality) for e in after] == [
        (e.policy, e.loss, e.quality) for e in whole
    ]
    assert summary(folder) == summary(reference)
    for file in ("weights.safetensors", "policy.json", "plan.json"):
        assert sha256_of(folder / file) == sha256_of(reference / file), file
    autoprune.load(folder)
    assert (folder / "report.md").exists()
    assert not list(folder.glob(".verdict*"))
