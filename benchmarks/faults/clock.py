"""A wall clock that jumps, for processes that do not know better."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from autoprune._debian import unpack
from autoprune._resources import cache_dir
from benchmarks.faults.observed import FAKED

_LIBRARY = "libfaketimeMT.so.1"
_DAY = 86_400


class Clock:
    """The clock that some processes see; the monotonic one is left alone.

    Args:
        file: Where the library reads by how much the clock is wrong.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._library = file, _library()
        self._file.write_text("+0")

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the processes that see it."""
        return {
            "LD_PRELOAD": str(self._library),
            FAKED: str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, rng: Random) -> None:
        """Be wrong by up to two days, in either direction."""
        self._file.write_text(f"{rng.randint(-2 * _DAY, 2 * _DAY):+d}")


def _library() -> Path:
    """Return Debian's libfaketime, which is fetched once and kept in the cache; not installed.

    Raises:
        OSError: If it cannot be fetched.
    """
    folder = cache_dir() / "libfaketime"
    if not list(folder.rglob(_LIBRARY)):
        folder.mkdir(parents=True, exist_ok=True)
        if not unpack("libfaketime", folder):
            raise OSError("libfaketime cannot be had from apt: it is missing, or offline.")
    return next(folder.rglob(_LIBRARY))
