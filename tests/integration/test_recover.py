"""Through the command line: a user's own training of the finalists, and settings of ours."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

import autoprune
from autoprune.agent.housing.workspace import DATABASE, STUDY
from autoprune.core.progress import silent
from autoprune.core.user_modules import import_file
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

Run = Callable[..., tuple[int, str, str]]

TRAIN = r'''
"""Somebody's training, with a helper beside it."""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import code_of_mine


def recover(model, epochs):
    log = Path(__file__).with_name("calls.txt")
    with log.open("a") as lines:
        lines.write(f"{epochs} {model.training} {next(model.parameters()).device}\n")
    optimiser = torch.optim.Adam(model.parameters(), code_of_mine.RATE)
    for _ in range(epochs):
        for images, classes in code_of_mine.split(1, 96, True):
            optimiser.zero_grad()
            cross_entropy(model(images), classes).backward()
            optimiser.step()
'''


@pytest.fixture
def run(project: Path, run_autoprune: Run) -> Run:
    """Return what runs ``autoprune search`` in the project and gives code, stdout and stderr."""
    (project / "train.py").write_text(TRAIN)
    (project / "code_of_mine.py").write_text((project / "code.py").read_text() + "\nRATE = 3e-3\n")
    with (project / "search.yaml").open("a") as file:
        file.write("recover: train.py:recover\n")
    return partial(run_autoprune, "search", "search.yaml")


def test_ones_own_function_trains_the_finalists(project: Path, run: Run) -> None:
    code, _, err = run("--quiet")
    assert code == 0, err
    calls = (project / "calls.txt").read_text().splitlines()
    assert calls == ["2 True cpu"] * 2, "12 steps are two passes of 6 batches, for each finalist"
    with Database.open(sqlite_url(project / "run" / DATABASE)) as database:
        stored = database.find_run(STUDY)
        assert stored is not None
        found = [e for e in database.evaluations(stored.id) if e.outcome == "recovered"]
    model = autoprune.load(project / "run")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    assert found
    assert found[0].sample_forwards > 2 * 96  # two passes of 96 samples, at three forwards
    code, _, err = run("--quiet", "--if-exists", "resume")
    assert code == 0, err
    assert len((project / "calls.txt").read_text().splitlines()) == 2


def edited(project: Path, file: str, old: str, new: str) -> None:
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))


def test_a_function_that_raises_can_be_mended_and_resumed(project: Path, run: Run) -> None:
    edited(project, "train.py", "code_of_mine.RATE", "code_of_mine.RATES[0]")
    code, out, err = run("--quiet")
    assert (code, out) == (2, "")
    for part in ("search.yaml: recover: 'train.py:recover' raised", "RATES", "train.py, line"):
        assert part in err
    edited(project, "train.py", "code_of_mine.RATES[0]", "code_of_mine.RATE")
    with (project / "train.py").open("a") as file:
        file.write("# mended\n")
    for name in [name for name in sys.modules if name.startswith("autoprune_user_train_")]:
        del sys.modules[name]
    code, _, err = run("--quiet", "--if-exists", "resume")
    assert code == 0, err
    assert len((project / "calls.txt").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("train.py:recover", "train.py:recovr", ["has no 'recovr'", "Did you mean 'recover'"]),
        ("train.py:recover", "train.py", ["recover must be FILE.py:NAME or MODULE:NAME"]),
        ("train.py:recover", "code.py:net", ["recover(model, epochs)", "two arguments"]),
        ("finalists: 2", "finalists: 2, ema: 0.9", ["recovery.ema would have no effect"]),
        ("finalists: 2", "finalists: 2, distill: 0.4", ["recovery.distill would have no effect"]),
        ("finalists: 2", "finalists: 2, amp: float16", ["recovery.amp", "CUDA"]),
        ("finalists: 2", "finalists: 2, amp: off", ["recovery.amp", "auto", "False"]),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_scored(
    project: Path, run: Run, old: str, new: str, parts: list[str]
) -> None:
    edited(project, "search.yaml", old, new)
    code, out, err = run("--quiet")
    assert (code, out) == (2, "")
    for part in ("search.yaml" if "recovery" not in parts[0] else "recovery", *parts):
        assert part in err
    assert not (project / "calls.txt").exists()


def test_all_settings_of_ours_together(project: Path, run_autoprune: Run) -> None:
    more = (
        "finalists: 2, rate_schedule: one-cycle, clip_norm: 1.0, amp: bfloat16, ema: 0.9, "
        "distill: 0.5, distill_features: 1.0, distill_modules: [outer], patience: 3, look_every: 4"
    )
    edited(project, "search.yaml", "finalists: 2", more)
    code, _, err = run_autoprune("search", "search.yaml", "--quiet")
    assert code == 0, err
    model = autoprune.load(project / "run")
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_a_function_in_python_is_called_for_each_finalist(project: Path) -> None:
    mine, calls = import_file(project / "code.py"), []
    found = autoprune.search(
        mine.net(),
        task=autoprune.Classification(mine.loaders()),
        budget="macs=50%",
        trials=3,
        out=project / "run",
        onnx=False,
        recovery=autoprune.Recovery(score_steps=2, recover_steps=6, calibration_batches=1),
        recover=lambda model, epochs: calls.append((type(model).__name__, epochs)),
        sensitivity=False,
        progress=silent,
    )
    assert calls == [("Net", 1)] * 3
    settings = json.loads((found.folder / "run.json").read_text())
    assert "test_a_function_in_python" in settings["recover"]


GO_ON = r"""
import hashlib
import sys

import torch

from autoprune.core.recovery import Recovery
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.evaluation.randomness import Randomness
from autoprune.tasks import Classification

sys.path.insert(0, ".")
from code_of_mine import loaders, net

torch.set_num_threads(1)
start, stop = int(sys.argv[1]), int(sys.argv[2])
task = Classification(loaders())
recovery = Recovery(rate_schedule="one-cycle", ema=0.8, clip_norm=1.0, learning_rate=0.1)
randomness = Randomness(3, task.loader("train"))
training = FineTuning(net(), task, 16, recovery, "cpu", randomness=randomness)
if start:
    training.load_state_dict(torch.load("state.pt", weights_only=True))
assert training.done == start
training.advance(stop)
torch.save(training.state_dict(), "state.pt")
digest = hashlib.sha256()
for tensor in training.kept.state_dict().values():
    digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
"""


def test_training_goes_on_in_another_process_to_the_same_bytes(project: Path) -> None:
    (project / "code.py").rename(project / "code_of_mine.py")  # Python has a `code` of its own
    (project / "go_on.py").write_text(GO_ON)

    def train(start: int, stop: int) -> str:
        command = [sys.executable, "go_on.py", str(start), str(stop)]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    whole = train(0, 16)
    train(0, 5), train(5, 11)
    assert train(11, 16) == whole
