"""Searches on a Ray cluster that it starts, two of whose workers die; tells what came of it."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import autoprune
from autoprune.core.imports import load_object
from autoprune.core.progress import Progress


def children(of: int) -> list[int]:
    """Return the processes that descend from one."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = stat.parent.name, stat.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == of:
            found += [int(pid), *children(int(pid))]
    return found


def main(project: Path) -> None:
    """Search."""
    killed: list[int] = []

    def kill(event: Progress) -> None:
        if (event.stage, event.done) in (("search", 2), ("recover", 1)):
            actors = [
                pid
                for pid in children(os.getpid())
                if b"_Actor" in Path(f"/proc/{pid}/cmdline").read_bytes() and pid not in killed
            ]
            killed.append(actors[0])
            os.kill(killed[-1], signal.SIGKILL)

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
            score_steps=4, recover_steps=8, finalists=3, calibration_batches=2
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
