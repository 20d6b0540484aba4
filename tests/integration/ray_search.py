"""Searches on a Ray cluster that it starts, two of whose workers die; tells what came of it."""

import json
import sys
from pathlib import Path
from typing import Any

import autoprune
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.files import WEIGHTS
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress, ProgressCallback, silent


def main(project: Path) -> None:
    """Search."""
    left = [("search", 2), ("recover", 1)]

    def wish(event: Progress) -> None:
        """Let a worker die that trains from now on."""
        if left and event.stage == left[0][0] and event.done >= left[0][1]:
            (project / "die-{}-{}".format(*left.pop(0))).touch()

    found = search(project, wish, runner="ray", workers=2)
    run = project / "ray"
    by_workers = (run / WEIGHTS).read_bytes()
    for file in (run / "result.json", *run.glob("finalist-*.safetensors")):
        file.unlink()
    search(project, silent, runner=f"file:{project / 'runner.yaml'}", if_exists="resume")
    print(
        json.dumps(
            {
                "died": sorted(file.name for file in project.glob("die*")),
                "evaluations": found.result.search.evaluations,
                "share": found.result.pruned.macs / found.result.dense.macs,
                "as one process": (run / WEIGHTS).read_bytes() == by_workers,
            }
        )
    )


def search(project: Path, progress: ProgressCallback, **more: Any) -> SearchResult:
    """Search, or train the winner again where its weights are gone."""
    model: Any = load_object("code.py:trained", base=project)
    loaders: Any = load_object("code.py:loaders", base=project)
    task: Any = load_object("mortal.py:Mortal", base=project)
    found: SearchResult = autoprune.search(
        model(),
        task=task(loaders(), project),
        budget="macs=50%",
        trials=8,
        onnx=False,
        out=project / "ray",
        recovery=autoprune.Recovery(
            score_steps=4, recover_steps=8, finalists=3, calibration_batches=2
        ),
        progress=progress,
        **more,
    )
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
