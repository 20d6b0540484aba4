"""Where figures come from: the machine, the commit, and the code that made them."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "benchmarks" / "results"
_NO_CODE = ":!benchmarks/results"
_PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "numpy")


def machine() -> dict[str, str | int]:
    """Return processor, cores, memory in GiB, system and versions; nothing that names a person."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def commit() -> str:
    """Return the checkout's commit, with ``+`` if its code was changed since, or ``unknown``."""
    try:
        changed = _git("status", "--porcelain", "--", "autoprune", "benchmarks", _NO_CODE)
        return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def code_of(*places: str) -> str:
    """Return the fingerprint of all Python below ``places``, relative to the checkout.

    Raises:
        FileNotFoundError: If there is no such place: it was moved, and the fingerprint would not
            see what it holds.
    """
    digest = hashlib.sha256()
    for path in sorted(_modules(CHECKOUT / place for place in places)):
        digest.update(path.relative_to(CHECKOUT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _modules(places: Iterable[Path]) -> set[Path]:
    return {path for place in places for path in _modules_of(place)}


def _modules_of(place: Path) -> Iterable[Path]:
    if not place.exists():
        raise FileNotFoundError(f"Figures depend on {place}, which is not there. Name what is.")
    return [place] if place.is_file() else place.rglob("*.py")


def _git(*words: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")
