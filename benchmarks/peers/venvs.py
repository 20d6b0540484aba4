"""Rivals' packages, each in an environment of its own that borrows the rest from ours."""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

from filelock import FileLock

from autoprune._resources import cache_dir
from autoprune.core.fingerprint import fingerprint

PACKAGES: Mapping[str, Sequence[str]] = {
    "torch_pruning": ("torch-pruning==1.6.1",),
    "fastnas": ("nvidia-modelopt==0.47.0", "torchprofile==0.0.4"),
    # the last release with the sensitivity analysis: 0.4.0 and 0.4.1 say it moved elsewhere
    "fasterai": ("fasterai==0.3.2", "torch-pruning==1.6.1"),
}


def python_of(tool: str) -> Path:
    """Return the interpreter of a tool's environment; makes it if there is none yet.

    It sees the packages of the environment that runs, PyTorch among them, so that everybody
    computes by the same kernels and only what is missing is installed.

    Args:
        tool: One of `PACKAGES`.

    Raises:
        RuntimeError: If pip cannot install the packages.
    """
    ours = sysconfig.get_path("purelib")
    recipe = fingerprint([list(PACKAGES[tool]), ours, sys.version])[:8]
    folder = cache_dir() / "peers" / f"{tool}-{recipe}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            _make(folder, ours)
            _install(python, PACKAGES[tool])
            (folder / "ready").touch()
    return python


def _make(folder: Path, ours: str) -> None:
    venv.create(folder, clear=True, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (own / "borrowed.pth").write_text(f"{ours}\n", encoding="utf-8")


def _install(python: Path, packages: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *packages]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{', '.join(packages)} cannot be installed: {shorten(done.stderr, 300)} Check the "
            "network and run again: what is done is kept."
        )
