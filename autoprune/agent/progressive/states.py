"""States of a progressive run on disk: whole, verified, and no more of them than needed."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from autoprune.agent.progressive.state import State
from autoprune.artifacts.files import sha256_of
from autoprune.core.ledger import LedgerEntry
from autoprune.errors import CheckpointError, OutputError
from autoprune.storage.checkpoints import Checkpoints


@dataclass(frozen=True)
class States:
    """Keeps where a run stands: a file is written first, then the database points to it.

    Args:
        checkpoints: What points to files.
        folder: Where the files are.
        name: What their names begin with.
    """

    checkpoints: Checkpoints
    folder: Path
    name: str

    def last(self, start: State) -> tuple[State, int]:
        """Return the last state whose files are all as they were written, ``start`` without one.

        And how many legs that were done have to be done again, for their files are not whole.

        Raises:
            OutputError: If a file is there and cannot be read now.
        """
        found = [State.from_dict(stored) for stored in self.checkpoints.latest()]
        if not found:
            return start, 0
        state = next(filter(self._is_whole, found), start)
        again = found[0].leg - state.leg
        if again == 0:  # else files may be missing for a moment
            self._drop_others(state)
        paid = replace(  # what is done again was paid for all the same
            state,
            sample_forwards=max(one.sample_forwards for one in found),
            seconds=max(one.seconds for one in found),
        )
        return paid, again

    def keep(self, state: State, entries: Iterable[LedgerEntry] = ()) -> State:
        """Keep a state and what was learnt in one transaction; drop files that nobody needs."""
        self.checkpoints.add(state.to_dict(), entries)
        self._drop_others(state)
        return state

    def write(self, training: Mapping[str, Any], leg: int, attempt: int) -> tuple[str, str]:
        """Write the state of a training; return the name of the file and its SHA-256.

        Raises:
            OutputError: If it cannot be written.
        """
        path = self.folder / f"{self.name}-{leg}-{attempt}.pt"
        partial = path.with_name(f".{path.name}.partial")
        try:
            self.folder.mkdir(exist_ok=True)
            with partial.open("wb") as file:
                summing = _Summing(file)
                torch.save(dict(training), cast(IO[bytes], summing))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as err:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise OutputError(
                f"The checkpoint {path} cannot be written: {err}. What was trained before is "
                "kept: make room or mend the folder, then resume."
            ) from err
        return path.name, summing.digest.hexdigest()

    def read(self, file: str, device: str) -> dict[str, Any]:
        """Return the state of a training that was written.

        Raises:
            CheckpointError: If it is none, though its sum is the recorded one: others wrote it.
        """
        path = self.folder / file
        try:
            found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as err:  # torch raises many kinds
            raise CheckpointError(
                f"{path} is no state that this version wrote, or holds Python objects beside "
                "tensors, which are never loaded. Remove the file, to go on from an earlier one."
            ) from err
        return found

    def _drop_others(self, state: State) -> None:
        needed = {*state.files, *state.kept}
        for file in self.folder.glob(f"{self.name}-*.pt"):
            if file.name not in needed:
                with suppress(OSError):  # it is in nobody's way
                    file.unlink()

    def _is_whole(self, state: State) -> bool:
        return all(self._is_as_written(self.folder / file, s) for file, s in state.files.items())

    def _is_as_written(self, path: Path, sha256: str) -> bool:
        try:
            return path.is_file() and sha256_of(path) == sha256
        except FileNotFoundError:
            return False
        except OSError as err:
            raise OutputError(
                f"The checkpoint {path} cannot be read: {err.strerror}. Mend the permissions or "
                "the disk, then resume; or remove the file, to go on from an earlier one."
            ) from err


class _Summing:
    """A file that sums up what is written to it: a sum of what is read back proves less.

    Args:
        file: The file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write some bytes."""
        self.digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Do what files do."""
        self._file.flush()
