"""A search whose finalists are trained as a population; prints how it came out as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import autoprune
from autoprune.core.imports import load_object
from autoprune.execution.runners.tune import RayTuneRunner


def main(project: Path) -> None:
    """Search."""
    model: Any = load_object("code.py:trained", base=project)
    found = autoprune.search(
        model(),
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget="macs=50%",
        trials=8,
        sensitivity=False,
        onnx=False,
        out=project / "population",
        if_exists="resume",
        runner=RayTuneRunner(
            workers=2, device="cpu", recovery_scheduler="pbt", storage=str(project / "storage")
        ),
        recovery=autoprune.Recovery(
            score_steps=3, recover_steps=24, finalists=3, calibration_batches=2
        ),
    )
    print(
        json.dumps(
            {
                "forwards": found.result.search.sample_forwards,
                "share": found.result.pruned.macs / found.result.dense.macs,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
