"""A whole search over two towers: pairs in, recall out, embeddings as wide as before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import autoprune
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.result import Result
from autoprune.evaluation.measuring.measure import measure
from autoprune.formats.onnx import run_onnx
from autoprune.surgery.compare import outputs

WORDS, CLASSES = 8, 6
RECOVERY = autoprune.Recovery(
    score_steps=6,
    recover_steps=20,
    finalists=2,
    calibration_batches=2,
    score_by="kl",
    distill=1.0,
    clip_norm=1.0,
)


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten()
        )
        self.see = nn.Linear(12 * 9, 8)
        self.words = nn.Embedding(WORDS, 12)
        self.text = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = torch.tensor(10.0, device=images.device)
        return self.see(self.visual(images)), self.text(self.words(tokens).mean(1)), scale


def pairs(seed: int, batches: int) -> list[Any]:
    """Return noisy images, each with the caption of its kind: all batches have duplicates."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randn(CLASSES, 1, 6, 6, generator=torch.Generator().manual_seed(9))
    captions = torch.randint(WORDS, (CLASSES, 4), generator=torch.Generator().manual_seed(8))
    found = []
    for _ in range(batches):
        chosen = torch.randint(CLASSES, (24,), generator=rng)
        noise = torch.randn(24, 1, 6, 6, generator=rng)
        found.append((kinds[chosen] + 0.5 * noise, captions[chosen]))
    return found


def trained(task: autoprune.Contrastive) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Towers()
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(10):
        for batch in task.batches("train"):
            optimiser.zero_grad()
            task.loss(task.outputs(model, batch), batch).backward()
            optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def task() -> autoprune.Contrastive:
    splits = {"train": pairs(1, 6), "search": pairs(2, 3), "test": pairs(3, 3)}
    return autoprune.Contrastive(splits, recall_at=1)


def search(task: autoprune.Contrastive, folder: Path, **changes: Any) -> SearchResult:
    runner = folder / "runner.yaml"
    runner.write_text("kind: local\ndevice: cpu\nthreads: 1\n")
    given: dict[str, Any] = {
        **{"task": task, "budget": "macs=50%", "trials": 6, "recovery": RECOVERY},
        **{"out": folder / "run", "runner": f"file:{runner}", "progress": lambda event: None},
    }
    result: SearchResult = autoprune.search(trained(task), **given | changes)
    return result


@pytest.fixture(scope="module")
def found(task: autoprune.Contrastive, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(task, tmp_path_factory.mktemp("towers"))


def test_the_budget_is_met_and_every_unit_of_both_towers_was_open(found: SearchResult) -> None:
    result = found.result
    assert result.pruned.macs <= result.dense.macs / 2
    assert {cut.unit for cut in result.cuts} == {"visual.0", "words", "text.0"}
    assert result.metric == "recall@1"


def test_recall_is_that_of_the_model_that_was_written(
    found: SearchResult, task: autoprune.Contrastive
) -> None:
    model = autoprune.load(found.folder, Towers())
    measured = measure(model, task, "test", "cpu").quality
    assert measured == pytest.approx(found.result.pruned.quality_test)
    assert found.result.dense.quality_test > 0.9, "six kinds are told apart"
    assert measured > 1 / CLASSES, "better than chance"


def test_embeddings_keep_their_width_and_the_onnx_file_takes_any_batch(
    found: SearchResult,
) -> None:
    ((images, tokens),) = pairs(4, 1)
    for samples in (1, 5):
        given = [images[:samples], tokens[:samples]]
        want = outputs(found.model, given)
        got = run_onnx(found.folder / "model.onnx", given)
        assert [list(x.shape) for x in want] == [[samples, 8], [samples, 8], []]
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_settings_are_part_of_the_run(found: SearchResult) -> None:
    text = (found.folder / "run.json").read_text()
    assert '"recall_at": 1' in text


def test_each_tower_has_a_limit_of_its_own(task: autoprune.Contrastive, tmp_path: Path) -> None:
    found = search(task, tmp_path, budget="macs=40%@visual,macs=75%@text", onnx=False)
    dense, pruned = found.result.dense.parts, found.result.pruned.parts
    assert set(dense) == set(pruned) == {"macs@visual", "macs@text"}
    assert pruned["macs@visual"] <= 0.4 * dense["macs@visual"]
    assert 0.5 * dense["macs@text"] < pruned["macs@text"] <= 0.75 * dense["macs@text"]
    report = (found.folder / "report.md").read_text()
    assert "macs@visual" in report
    again = Result.model_validate_json((found.folder / "result.json").read_text())
    assert again.pruned.parts == pruned


def test_the_smallest_tower_within_a_drop(task: autoprune.Contrastive, tmp_path: Path) -> None:
    found = search(
        task, tmp_path, budget=None, max_drop=5.0, minimise="params@text", onnx=False, trials=8
    )
    cuts = {cut.unit: cut.kept < cut.atoms for cut in found.result.cuts}
    assert not cuts.get("visual.0", False), "the other tower is left alone"
    assert found.result.pruned.parts["params@text"] < found.result.dense.parts["params@text"]
