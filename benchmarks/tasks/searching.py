"""Searches of the tasks' examples, ours and with one sparsity for all units."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import autoprune
from autoprune.execution.build import build_model, build_task
from autoprune.execution.config import SearchFile, load_search_file
from benchmarks.images import EXAMPLES
from benchmarks.isolated import Note
from benchmarks.tasks.exporting import exported

FILES: Mapping[str, Path] = {
    "contrastive": EXAMPLES / "captions" / "search.yaml",
    "segmentation": EXAMPLES / "scenes" / "search.yaml",
    "detection": EXAMPLES / "tree_crowns" / "search.yaml",
    "classification": Path(__file__).with_name("mobilenet.yaml"),
}
UNIFORM = 3  # one for each method: the best of them by score is recovered


def prepare(note: Note, example: str) -> None:
    """Fetch the data and train the dense model, if that was not done before.

    Args:
        note: Told when it is there.
        example: Of the task, one of `FILES`.
    """
    note(stage="train")
    file = load_search_file(FILES[example])
    build_model(file)
    build_task(file)
    note(stage="trained")


def search(note: Note, example: str, sampler: str, seed: int, **changes: Any) -> None:
    """Search the example of a task inside its budget, and tell the test figures.

    All arms recover what they found by the same settings.

    Args:
        note: Told ``dense`` and ``pruned``, the qualities on the test split, ``macs_share`` and
            the cost of the search.
        example: Of the task, one of `FILES`.
        sampler: ``budgeted``, with all the file says, or ``uniform``.
        seed: Of the search.
        changes: What differs from the file, by name.
    """
    file = load_search_file(FILES[example])
    model = build_model(file)
    with TemporaryDirectory() as folder:
        found = autoprune.search(
            model,
            task=build_task(file),
            seed=seed,
            sampler=sampler,
            out=Path(folder) / "run",
            onnx=False,
            database=str(Path(folder) / "shared.db"),
            progress=lambda event: note(stage=event.stage, done=event.done),
            **(_settings(file, sampler) | changes),
        )
    result, cost = found.result, found.result.search
    note(
        dense=result.dense.quality_test,
        pruned=result.pruned.quality_test,
        dense_search=result.dense.quality_search,
        pruned_search=result.pruned.quality_search,
        macs_share=result.pruned.macs / result.dense.macs,
        metric=result.metric,
        sample_forwards=cost.sample_forwards,
        evaluations=cost.evaluations,
        search_s=cost.seconds,
    )


def _settings(file: SearchFile, sampler: str) -> dict[str, Any]:
    assert file.budget is not None
    return {
        "budget": file.budget,
        "trials": file.trials if sampler == "budgeted" else UNIFORM,
        "recovery": file.recovery,
        "space": file.reference(file.space),
        "sensitivity": sampler == "budgeted",
    }


def export(note: Note, example: str) -> None:
    """Cut half of a detector or segmenter of torchvision, and run it in onnxruntime.

    Args:
        note: Told ``difference``, the largest between outputs, relative to the largest one, and
            ``macs_share``.
        example: ``ssdlite`` or ``lraspp``.
    """
    note(stage="export")
    note(**exported(example))
