"""Searches with the runner ray-tune; prints how the search came out as JSON.

``ray_tune_search.py FOLDER SCHEDULER KILL``: ``SCHEDULER`` is JSON; with ``KILL`` above 0 the
process of a trial is killed when so many policies or more are scored.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import autoprune
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress
from autoprune.execution.runners.tune import RayTuneRunner


def trials() -> list[psutil.Process]:
    """Return the processes of trials."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            words = " ".join(process.cmdline())
            if "ray::JobTrial" in words or "ray::ResourceTrainable" in words:
                found.append(process)
    return found


def main(project: Path, scheduler: str, kill_at: int) -> None:
    """Search."""
    killed: list[int] = []

    def kill(event: Progress) -> None:
        if event.stage == "search" and event.done >= kill_at > 0 and not killed:
            for process in trials()[:1]:  # none where all rest, or have just begun
                killed.append(process.pid)
                process.kill()

    model: Any = load_object("code.py:trained", base=project)
    found = autoprune.search(
        model(),
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget="macs=50%,params=80%",
        trials=8,
        onnx=False,
        out=project / "tune",
        runner=RayTuneRunner(workers=2, device="cpu", scheduler=json.loads(scheduler)),
        recovery=autoprune.Recovery(
            score_steps=6, recover_steps=8, finalists=1, calibration_batches=2
        ),
        progress=kill,
    )
    cost = found.result.search
    print(
        json.dumps(
            {
                "killed": len(killed),
                "evaluations": cost.evaluations,
                "stopped": cost.stopped,
                "share": found.result.pruned.macs / found.result.dense.macs,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
