"""Results on disk, one file per task, so that a benchmark that is cut goes on where it was."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from autoprune.artifacts.files import write_text
from autoprune.core.fingerprint import fingerprint
from benchmarks.isolated import Facts

Reuse = Literal["same", "any", "none"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a result belongs to.

    Args:
        kind: What was done; a folder of the store.
        name: To what; a file of that folder.
        recipe: Fingerprint of the arguments.
        code: Fingerprint of the code that did it.
    """

    kind: str
    name: str
    recipe: str
    code: str


class Store:
    """A folder of results.

    Args:
        folder: Where; made when something is put.
        reuse: Which results `get` gives: of the ``same`` code, of ``any``, or ``none``. Those of
            other arguments are never given.
    """

    def __init__(self, folder: Path, reuse: Reuse = "same") -> None:
        self._folder, self._reuse = folder, reuse

    def get(self, key: Key) -> Facts | None:
        """Return the facts put under ``key``, or None; a file that is damaged counts as none."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
            known, facts = Key(**found["key"]), dict(found["facts"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        same = known.recipe == key.recipe and (known.code == key.code or self._reuse == "any")
        return facts if same and self._reuse != "none" else None

    def put(self, key: Key, facts: Facts) -> None:
        """Write facts (plain JSON types) under ``key``; an older result gives way."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"key": asdict(key), "facts": facts}, indent=1) + "\n")

    def folder_of(self, key: Key) -> Path:
        """Return a folder for what is found under ``key`` before there is a result."""
        return self._folder / key.kind / f"{key.name}.{key.recipe}"

    def _path(self, key: Key) -> Path:
        return self._folder / key.kind / f"{key.name}.json"


def recipe_of(arguments: object) -> str:
    """Return the identity of a task's arguments (plain JSON types)."""
    return fingerprint(arguments)[:16]
