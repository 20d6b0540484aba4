"""Data that Debian packages, for the examples: unpacked without being installed."""

import shutil
import subprocess
from pathlib import Path

LONGEST = 600  # seconds that one command may take


def unpack(package: str, folder: Path) -> bool:
    """Download Debian's ``package`` and unpack its files below ``folder``; no rights are needed.

    Args:
        package: Name of the package.
        folder: A folder that is there.

    Returns:
        Whether that worked; without ``apt-get`` and ``dpkg``, or offline, it does not.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return False
    download = ("apt-get", "download", package)
    if not _works(*download, folder=folder):
        _works("apt-get", "update", folder=folder)
        if not _works(*download, folder=folder):
            return False
    file = next(folder.glob(f"{package}_*.deb"), None)
    if file is None:
        return False
    unpacked = _works("dpkg", "-x", file.name, ".", folder=folder)
    file.unlink()
    return unpacked


def _works(*command: str, folder: Path) -> bool:
    """Run ``command`` quietly in ``folder``; tell whether it worked."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=LONGEST)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
