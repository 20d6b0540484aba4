"""Settings that hold for every test."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The models of the tests are tiny: more threads only wait for each other (109 s against 23 s).
# It is set before torch is imported, and children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes of pytest-xdist are told of a terminal with 80 columns, in which tables are folded.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)

# Machines may be busy: how long an example takes says nothing.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What is measured of this device is kept apart from the user's own.
_FOLDER = tempfile.TemporaryDirectory(prefix="autoprune-tests-")
os.environ["AUTOPRUNE_DATABASE"] = os.path.join(_FOLDER.name, "shared.db")


@pytest.fixture(autouse=True)
def _same_draws() -> Iterator[None]:
    """Every test draws the same numbers from PyTorch, whichever ran before it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def _own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds scored what another one scored."""
    monkeypatch.setenv("AUTOPRUNE_DATABASE", str(tmp_path / "of-all-runs.db"))


@pytest.fixture
def run_autoprune(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return what runs ``autoprune WORDS`` in this process and gives code, stdout and stderr."""
    from autoprune.cli.main import main

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autoprune", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capfd.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run
