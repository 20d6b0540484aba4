"""Whole searches of tasks beside single-label classification, from a search file to a result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import autoprune
from autoprune.core.imports import load_object
from autoprune.execution.build import build_model, build_task
from autoprune.execution.config import load_search_file
from autoprune.surgery.compare import outputs

MULTI_LABEL = '''
"""A model with the form of Hugging Face's, and images with several labels each."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Output:
    """Logits beside other things, as Hugging Face's `ModelOutput`."""

    logits: Any
    loss: Any = None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 12, 3, padding=1)
        self.classifier = nn.Linear(12, 4)

    def forward(self, pixel_values, scale=None, labels=None):
        assert labels is None, "the loss is the task's"
        x = pixel_values if scale is None else pixel_values * scale[:, None, None, None]
        x = torch.relu(self.inner(torch.relu(self.norm(self.stem(x)))))
        return Output(logits=self.classifier(x.mean((2, 3))))


def net():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net()


class Images(Dataset):
    """Images with a patch for each label that they have; the last label is rare."""

    def __init__(self, seed, samples, labels=4):
        rng = torch.Generator().manual_seed(seed)
        often = torch.tensor([0.5, 0.4, 0.3, 0.1])
        self.targets = (torch.rand(samples, 4, generator=rng) < often).float()
        self.targets[0] = torch.arange(4) < labels  # one positive of each at least
        self.targets[:, labels:] = 0
        patches = self.targets.view(samples, 1, 2, 2).repeat_interleave(3, 2)
        noise = torch.randn(samples, 1, 6, 6, generator=rng)
        self.images = 0.5 * noise + patches.repeat_interleave(3, 3)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        scale = torch.tensor(0.5)
        return {"pixel_values": self.images[index], "scale": scale, "labels": self.targets[index]}


def loaders(labels=4):
    return {
        "train": DataLoader(Images(1, 96), 16, shuffle=True),
        "search": DataLoader(Images(2, 48, labels), 48),
        "test": DataLoader(Images(3, 40), 16),
    }
'''
SEARCH = """\
model: labelled.py:net
data: {target: "labelled.py:loaders", args: {labels: LABELS}}
task: {target: multi-label, args: {metric: f1, positive_weights: balanced}}
budget: {macs: 60%}
trials: 4
onnx: false
out: run
runner: file:./runner.yaml
recovery: {score_steps: 4, recover_steps: 8, finalists: 1, calibration_batches: 2}
"""


def multi_label(project: Path, labels: int = 4) -> Path:
    (project / "labelled.py").write_text(MULTI_LABEL)
    path = project / "labelled.yaml"
    path.write_text(SEARCH.replace("LABELS", str(labels)))
    return path


def test_a_multi_label_search_from_a_file(
    project: Path, run_autoprune: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = run_autoprune("search", str(multi_label(project)))
    assert code == 0, err
    result: dict[str, Any] = json.loads((project / "run" / "result.json").read_text())
    assert result["pruned"]["macs"] <= 0.6 * result["dense"]["macs"]
    pruned = autoprune.load(project / "run")
    assert (result["task"], result["metric"]) == ("multi-label", "F1")
    want = f1_by_hand(project, pruned)
    assert result["pruned"]["quality_test"] == pytest.approx(want, abs=1e-6)
    assert want > 0.2, "a model that says no to everything shows nothing"


def f1_by_hand(project: Path, model: torch.nn.Module) -> float:
    """Return the mean over classes of ``2 TP / (2 TP + FP + FN)`` on the test split."""
    images = load_object("labelled.py:Images", base=project)(3, 40)
    logits = model.eval()(images.images, torch.full((40,), 0.5)).logits
    guess, truth = logits > 0, images.targets == 1
    each = 2 * (guess & truth).sum(0) / (guess.sum(0) + truth.sum(0))
    return float(each.mean())


@pytest.mark.filterwarnings("default")
def test_a_class_that_the_search_split_lacks_is_warned_of(project: Path) -> None:
    file = load_search_file(multi_label(project, labels=3))
    with pytest.warns(UserWarning, match="search split has no positive sample of class 3"):
        autoprune.search(
            build_model(file),
            task=build_task(file),
            budget="macs=60%",
            trials=2,
            onnx=False,
            recovery=autoprune.Recovery(score_steps=0, recover_steps=0, finalists=1),
            constructor="labelled.py:net",
            out=project / "run",
            runner=f"file:{project / 'runner.yaml'}",
            progress=lambda event: None,
        )


def test_the_dense_model_gives_what_the_task_reads(project: Path) -> None:
    file = load_search_file(multi_label(project))
    model, task = build_model(file), build_task(file)
    batch = next(task.batches("search"))
    inputs = task.inputs(batch)
    assert sorted(inputs) == ["pixel_values", "scale"]
    (plain,) = outputs(model, inputs)
    with torch.no_grad():
        assert torch.equal(task.outputs(model.eval(), batch), plain)
