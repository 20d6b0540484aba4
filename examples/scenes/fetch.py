"""Fetches the pictures that scenes are composed of, once, from two Debian packages."""

import contextlib
import sys
import tempfile
from pathlib import Path

from autoprune._debian import unpack
from autoprune._resources import cache_dir
from autoprune.errors import DataError

PACKAGES = ("tuxpaint-stamps-default", "mate-backgrounds")
STAMPS = Path("usr/share/tuxpaint/stamps")
WALLPAPERS = Path("usr/share/backgrounds/mate")
FOLDERS = (("animals",), ("plants", "food"))  # of each class
KEPT = (
    *(STAMPS / folder for folders in FOLDERS for folder in folders),
    WALLPAPERS,
    *(Path("usr/share/doc", package) for package in PACKAGES),  # their licences
)


def pictures() -> Path:
    """Return the folder with what is `KEPT`; it lies in the cache and is filled on first use.

    Raises:
        DataError: If Debian's packages cannot be fetched; the message has the command to type.
    """
    home = cache_dir() / "scenes-photographs"
    if all((home / folder).is_dir() for folder in KEPT):
        return home
    print("Fetching the pictures of the composed scenes, 208 MB, once:", file=sys.stderr)
    print("cutouts of tuxpaint-stamps, Bill Kendrick and others, GPL-2,", file=sys.stderr)
    print("wallpapers of mate-backgrounds, MATE's authors, GPL-2 or later.", file=sys.stderr)
    print("Source: Debian, https://packages.debian.org", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        if not all(unpack(package, Path(scratch)) for package in PACKAGES):
            raise DataError(
                "The pictures could not be fetched with apt-get. On Debian or Ubuntu, online, "
                f"type: apt-get update && mkdir -p {home} && cd {home} && apt-get download "
                f"{' '.join(PACKAGES)} && for deb in *.deb; do dpkg -x $deb .; done (elsewhere: "
                "unpack these two packages of Debian into that folder)"
            )
        _keep(Path(scratch), home)
    return home


def _keep(unpacked: Path, home: Path) -> None:
    """Move what is needed to where it stays, the rest being some 200 MB."""
    small = unpacked / "kept"
    for folder in KEPT:
        (small / folder).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / folder).rename(small / folder)
    with contextlib.suppress(OSError):  # another process may have been faster
        small.rename(home)
