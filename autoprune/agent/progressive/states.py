"""States of a progressive run on disk: whole, verified, and no more of them than needed."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoprune.agent.progressive.state import State
from autoprune.artifacts.files import sha256_of
from autoprune.core.ledger import LedgerEntry
from autoprune.storage.checkpoints import Checkpoints

FOLDER = "checkpoints"


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

    def last(self) -> State | None:
        """Return the last state whose files are all as they were written, None without one."""
        for stored in self.checkpoints.latest():
            state = State.from_dict(stored)
            if all(self._whole(file, sum_) for file, sum_ in state.files.items()):
                self._drop_others(state)
                return state
        return None

    def keep(self, state: State, entries: Iterable[LedgerEntry] = ()) -> State:
        """Keep a state and what was learnt in one transaction; drop files that nobody needs."""
        self.checkpoints.add(state.to_dict(), entries)
        self._drop_others(state)
        return state

    def write(self, training: Mapping[str, Any], leg: int, attempt: int) -> tuple[str, str]:
        """Write the state of a training; return the name of the file and its SHA-256."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{self.name}-{leg}-{attempt}.pt"
        partial = path.with_name(f".{path.name}.partial")
        torch.save(dict(training), partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        return path.name, sha256_of(path)

    def read(self, file: str, device: str) -> dict[str, Any]:
        """Return the state of a training that was written."""
        found: dict[str, Any] = torch.load(
            self.folder / file, map_location=device, weights_only=True
        )
        return found

    def _drop_others(self, state: State) -> None:
        needed = {*state.files, *state.kept}
        for file in self.folder.glob(f"{self.name}-*.pt"):
            if file.name not in needed:
                file.unlink(missing_ok=True)

    def _whole(self, file: str, sha256: str) -> bool:
        path = self.folder / file
        return path.is_file() and sha256_of(path) == sha256
