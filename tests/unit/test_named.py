"""Names and files of a search file are looked for before anything heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = "model: code.py:net\ndata: code.py:loaders\nbudget: {macs: 50%}\n"
SEARCH = """
import sys
from autoprune.cli.main import main
sys.argv = ["autoprune", "search", "search.yaml"]
try:
    main()
finally:
    print({"torch", "optuna"} & set(sys.modules))
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("model: cod.py:net", "search.yaml: model: there is no file 'cod.py'"),
        ("data: cod.py:loaders", "search.yaml: data: there is no file 'cod.py'"),
        ("task: cod.py:Task", "search.yaml: task: there is no file 'cod.py'"),
        ("recover: cod.py:train", "search.yaml: recover: there is no file 'cod.py'"),
        ("checkpoint: weights.pt", "There is no checkpoint"),
        ("space: defualt", "Unknown search space 'defualt'. Did you mean 'default'?"),
        ("space: file:mine.yaml", "mine.yaml"),
        ("runner: lokal", "Unknown runner 'lokal'. Did you mean 'local'?"),
    ],
)
def test_what_is_missing_is_told_without_torch(tmp_path: Path, line: str, told: str) -> None:
    key = line.partition(":")[0]
    kept = [one for one in FILES.splitlines() if not one.startswith(f"{key}:")]
    (tmp_path / "search.yaml").write_text("\n".join([*kept, line]))
    (tmp_path / "code.py").touch()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", SEARCH],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told in ended.stderr
    assert (ended.returncode, ended.stdout) == (2, "set()\n")
