"""Fetches Fashion-MNIST once: from Debian's package, or else as torchvision does."""

import contextlib
import sys
import tempfile
from pathlib import Path

from autoprune._debian import unpack
from autoprune._resources import cache_dir
from autoprune.errors import DataError

PACKAGE = "dataset-fashion-mnist"
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def fashion_mnist() -> Path:
    """Return the folder with the four `FILES`; it lies in the cache and is filled on first use.

    Raises:
        DataError: If no source answers; the message has the commands to type.
    """
    home = cache_dir() / "fashion-mnist"
    if home.is_dir():
        return home
    print("Fetching Fashion-MNIST: Zalando SE, MIT licence.", file=sys.stderr)
    print("Source: https://github.com/zalandoresearch/fashion-mnist", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        found = _from_debian(Path(scratch)) or _from_torchvision(Path(scratch))
        if found is None:
            raise DataError(
                "Fashion-MNIST could not be fetched, neither with apt-get nor with torchvision. "
                f"On Debian or Ubuntu type: apt-get update && apt-get download {PACKAGE} && "
                f"dpkg -x {PACKAGE}_*.deb . && mv usr/share/datasets/fashion-mnist {home} "
                f"(elsewhere: put {', '.join(FILES)} into that folder)"
            )
        with contextlib.suppress(OSError):  # another process may have been faster
            found.rename(home)
    return home


def _from_debian(scratch: Path) -> Path | None:
    """Unpack Debian's package below ``scratch``, without installing it."""
    return _complete(scratch / "usr/share/datasets/fashion-mnist", unpack(PACKAGE, scratch))


def _from_torchvision(scratch: Path) -> Path | None:
    """Let torchvision download the files below ``scratch``."""
    try:
        from torchvision.datasets import FashionMNIST

        with contextlib.redirect_stdout(sys.stderr):
            FashionMNIST(scratch, download=True)
    except (ImportError, RuntimeError, OSError):
        return None
    return _complete(scratch / "FashionMNIST" / "raw", True)


def _complete(folder: Path, ended_well: bool) -> Path | None:
    complete = ended_well and all((folder / name).is_file() for name in FILES)
    return folder if complete else None
