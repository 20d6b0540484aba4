"""Searches on a Ray cluster that it starts, whose first worker dies; tells what came of it."""

import json
import sys
from pathlib import Path
from typing import Any

import psutil

import autoprune
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress


def main(project: Path) -> None:
    """Search."""
    killed: list[int] = []

    def kill(event: Progress) -> None:
        if event.stage == "search" and event.done == 2 and not killed:
            for process in psutil.Process().children(recursive=True):
                if not killed and "_Actor" in " ".join(process.cmdline()):
                    killed.append(process.pid)
                    process.kill()

    model: Any = load_object("code.py:trained", base=project)
    found = autoprune.search(
        model(),
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget="macs=50%",
        trials=8,
        onnx=False,
        out=project / "ray",
        runner="ray",
        workers=2,
        recovery=autoprune.Recovery(
            score_steps=4, recover_steps=8, finalists=1, calibration_batches=2
        ),
        progress=kill,
    )
    print(
        json.dumps(
            {
                "killed": len(killed),
                "evaluations": found.result.search.evaluations,
                "share": found.result.pruned.macs / found.result.dense.macs,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
