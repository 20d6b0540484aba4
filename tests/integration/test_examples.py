"""The examples on real data run from their search files: fetched, trained briefly, pruned."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
LITTLE = {
    "trials": 2,
    "sensitivity": False,
    "recovery": {"learning_rate": 0.01, "score_steps": 2, "recover_steps": 4, "finalists": 1},
}
# What makes an example short: a constant of one of its files, and what it is set to.
SHORTER = {
    "fashion_mnist": {"train.py": {"EPOCHS": "1"}},
    "captions": {"train.py": {"EPOCHS": "1"}},
    "scenes": {
        "train.py": {"EPOCHS": "1"},
        "data.py": {"SCENES": '{"train": 320, "search": 64, "test": 64}'},
    },
    "tree_crowns": {"train.py": {"EPOCHS": "1"}},
}


def shortened(name: str, folder: Path) -> Path:
    """Return a copy of an example, beside those whose files it uses, that asks for little."""
    own = folder / "examples" / name
    shutil.copytree(CHECKOUT / "examples", folder / "examples")
    for file, constants in SHORTER[name].items():
        text = (own / file).read_text(encoding="utf-8")
        for constant, value in constants.items():
            text, found = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value}", text)
            assert found == 1, f"{file} has no {constant}"
        (own / file).write_text(text, encoding="utf-8")
    settings = yaml.safe_load((own / "search.yaml").read_text(encoding="utf-8"))
    (own / "search.yaml").write_text(yaml.safe_dump(settings | LITTLE), encoding="utf-8")
    return own


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTER)
def test_an_example_is_searched_from_its_file(name: str, tmp_path: Path) -> None:
    own = shortened(name, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "autoprune", "search", str(own / "search.yaml"), "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["pruned"]["macs"] <= 0.5 * result["dense"]["macs"]
    assert result["search"]["evaluations"] == 2
    assert result["checks"]["onnx_max_diff"] < 1e-3
    assert (tmp_path / "runs" / name / "report.html").stat().st_size > 100_000
