"""The folder of a run: what is in it, whose it is, and whether it may be used."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from autoprune.agent.housing.heart import Heart
from autoprune.agent.housing.hold import LOCK, held
from autoprune.artifacts.files import PLAN, WEIGHTS, write_text
from autoprune.core.heartbeat import HEARTBEAT
from autoprune.core.json_text import read_json
from autoprune.core.mappings import differing
from autoprune.core.paths import resolved
from autoprune.errors import OutputError, RunExistsError

IfExists = Literal["fail", "resume", "overwrite"]
CONFIG, DATABASE, RESULT, POLICY, ONNX = (
    *("run.json", "autoprune.db", "result.json", "policy.json", "model.onnx"),
)
REPORT, PAGE, PROGRAM = "report.md", "report.html", "model.pt2"
LATENCY, SENSITIVITY, WARM_START, SOURCE = "latency", "sensitivity", "warm_start", "source"
CHECKS = "checks"  # what a run keeps of the time they took, for reports
SESSIONS = "sessions"  # what it keeps of those who worked on it, see `Request.session`
FRONT, POINTS = "front.json", "point-*"  # of a front
_OLD = "front.html"  # what a front left before it had a page
CHECKPOINTS = "checkpoints"  # folder of a progressive run's states
STUDY = "autoprune"  # name of the run and of its study in the database
_HALF_DONE = ".*.partial"
# In the order they are deleted: until its settings are gone, what is left is still the old run's.
_OURS = (
    *(RESULT, POLICY, ONNX, PROGRAM, REPORT, PAGE, PLAN, WEIGHTS, FRONT, _OLD, POINTS),
    *(f"{DATABASE}*", "finalist-*.safetensors", _HALF_DONE),
    CHECKPOINTS,
    CONFIG,
)
_OF_PROCESSES = (HEARTBEAT, LOCK)
_MAY_CHANGE = {"trials", "onnx", "recovery.keep_checkpoints"}
_FINGERPRINTS = {
    "model": "other weights or another architecture",
    "data": "other samples, transforms or loaders",
}
_IN_PYTHON = "if_exists=, out= and name= of search in Python"
_MAY_BE_LEFT_OUT = ("warm_start",)
_BEFORE = {"recovery.reconstruct": False}  # what held before a run could say so


def database_in(folder: Path) -> Path | None:
    """Return the database of the run in a folder, begun or finished; None if there is no run."""
    file = folder / DATABASE
    return file if file.is_file() and (folder / CONFIG).is_file() else None


def point_hint(folder: Path) -> str:
    """Return a sentence on what a folder may be that holds no run; empty if nothing is known."""
    above = resolved(folder).parent
    return f" It may be a point of the run in {above}." if database_in(above) else ""


class Workspace:
    """One run's folder, held by one process.

    Args:
        folder: The folder; made if it is missing.
        if_exists: What to do if it holds a run.
    """

    def __init__(self, folder: Path, if_exists: IfExists) -> None:
        self.folder = folder
        self._if_exists = if_exists
        self.heart = Heart(folder)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / DATABASE

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes out until the block ends or this process dies.

        Raises:
            ElsewhereError: If another process is seen to work on what is to be resumed.
            InfrastructureError: If another process holds it and is not seen to work.
            OutputError: If the folder cannot be written, holds foreign files, or another
                process works in it.
        """
        with held(self.folder, resume=self._if_exists == "resume"):
            self._refuse_foreign()
            self.heart = Heart(self.folder)
            with self.heart:
                yield

    def completed(
        self, config: Mapping[str, Any], elsewhere: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Return the settings, with what a run that is resumed need not be told again.

        Args:
            config: The settings that are asked for.
            elsewhere: Those of the run, if they are kept elsewhere too.
        """
        stored = (elsewhere or self.stored() or {}) if self._if_exists == "resume" else {}
        missing = {name for name in _MAY_BE_LEFT_OUT if config.get(name) is None}
        return {**config, **{name: stored[name] for name in missing & stored.keys()}}

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise `RunExistsError` if the folder holds a run that ``config`` may not go on with."""
        stored = self.stored()
        if self._if_exists == "overwrite":
            return
        if stored is None:
            self._refuse_orphans()
            return
        check_alike(str(self.folder), stored, config, resume=self._if_exists == "resume")

    def start(self, config: Mapping[str, Any]) -> None:
        """Make the folder ready for ``config``: empty, or with what an earlier session left."""
        self.check(config)
        self._delete(*_OURS if self._if_exists == "overwrite" else [_HALF_DONE])
        write_text(self.folder / CONFIG, json.dumps(dict(config), indent=2) + "\n")

    def stored(self) -> dict[str, Any] | None:
        """Return the settings of the run that is here, if there is one."""
        path = self.folder / CONFIG
        try:
            stored: dict[str, Any] = read_json(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            raise OutputError(f"{path} cannot be read: {err}. Choose another --out.") from err
        if not isinstance(stored, dict) or "budget" not in stored:
            raise OutputError(f"{path} holds no settings of a search. Choose another --out.")
        return stored

    def _refuse_foreign(self) -> None:
        known = {path for name in (*_OURS, *_OF_PROCESSES) for path in self._glob(name)}
        foreign = sorted(path.name for path in self.folder.iterdir() if path not in known)
        if self.stored() is None and foreign:
            raise OutputError(
                f"The output folder {self.folder} holds other files ({', '.join(foreign[:3])}). "
                "Choose a new or empty one."
            )

    def _refuse_orphans(self) -> None:
        if self.database.exists():
            raise RunExistsError(
                f"{self.folder} holds evaluations in {DATABASE}, but not the settings they were "
                f"made with, {CONFIG}. Put that file back, add --if-exists overwrite to start "
                f"afresh, or choose another --out ({_IN_PYTHON})."
            )

    def _glob(self, pattern: str) -> Iterator[Path]:
        return self.folder.glob(pattern)

    def _delete(self, *patterns: str) -> None:
        for path in [path for name in patterns for path in self._glob(name)]:
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            except OSError as err:
                raise OutputError(
                    f"{path} cannot be removed: {err.strerror}. Mend the permissions, or choose "
                    "another folder with --out (out= in Python)."
                ) from err


def holds(folder: Path, config: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds the run of these settings."""
    try:
        stored = Workspace(folder, "resume").stored()
    except OutputError:
        return False
    return stored is not None and not _changes(stored, config).keys() - _MAY_CHANGE


def check_alike(
    place: str, stored: Mapping[str, Any], config: Mapping[str, Any], *, resume: bool
) -> None:
    """Refuse to go on with a run unless that is asked for and its settings are the same.

    Args:
        place: Where it is.
        stored: Its settings.
        config: The settings that are asked for.
        resume: Whether it may be gone on with.

    Raises:
        RunExistsError: If it is refused.
    """
    changes = _changes(stored, config)
    blocking = {key: change for key, change in changes.items() if key not in _MAY_CHANGE}
    resumable = not blocking
    if resume and resumable:
        return
    shown = blocking if resume else changes
    listed = "; ".join(_change_text(key, *change) for key, change in shown.items())
    if resume:
        raise RunExistsError(
            f"The run in {place} cannot be resumed with other settings ({listed}). Give "
            f"the old ones, or --if-exists overwrite, or another --out or --name ({_IN_PYTHON})."
        )
    raise RunExistsError(
        f"{place} holds a run already{f' with other settings ({listed})' if changes else ''}. "
        f"Add {'--if-exists resume to go on with it, ' if resumable else ''}--if-exists overwrite "
        f"to start afresh, or choose another --out or --name ({_IN_PYTHON})."
    )


def _change_text(key: str, old: Any, new: Any) -> str:
    """Return a change as people read it; of models and data only fingerprints are known."""
    if key in _FINGERPRINTS:
        return f"{key}: {_FINGERPRINTS[key]}"
    unset = "automatic" if key.startswith("recovery.") else None
    before, now = (unset if one is None else one for one in (old, new))
    return f"{key}: {before} -> {now}"


def _changes(stored: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return old and new of each setting that differs, by keys like ``recovery.finalists``."""
    new = _flat(json.loads(json.dumps(dict(config))))
    old = {key: was for key, was in _BEFORE.items() if key in new} | _flat(stored)
    return {key: (old.get(key), new.get(key)) for key in differing(old, new)}


def _flat(settings: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{within}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found
