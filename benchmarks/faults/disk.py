"""A small disk that can be full."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.processes import apart

_MEGABYTES = 64
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Disk:
    """A file system in memory, which only some processes see where it is.

    Args:
        folder: Where they see it.
        within: What starts such a process.
        root: Where it is seen from outside.
    """

    folder: Path
    within: list[str]
    root: str

    def settings(self, shared: bool) -> dict[str, Any]:
        """Return the settings of a search whose run lies there.

        Args:
            shared: Whether the database that runs share lies there too.
        """
        found: dict[str, Any] = {"run": self.folder / "run", "within": self.within}
        if not shared:
            found["environment"] = {"AUTOPRUNE_DATABASE": str(self.folder.parent / "shared.db")}
        return found | {"root": self.root}

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(_BLOCK)):
                pass
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(1)):
                pass

    def empty(self) -> None:
        """Make room again."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return Path(f"{self.root}{self.folder}/filler")


@contextmanager
def small_disk() -> Iterator[Disk]:
    """Mount a small disk for as long as the block lasts."""
    with TemporaryDirectory(prefix="disk-") as folder:
        place = Path(folder, "small")
        place.mkdir()
        mount = f"mount -t tmpfs -o size={_MEGABYTES}m tmpfs {place}"
        with apart("-m", setup=mount) as (within, root):
            yield Disk(place, within, root)
