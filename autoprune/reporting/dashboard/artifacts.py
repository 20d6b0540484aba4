"""Files of runs, and policies of trials, as artifacts: they can be read and nothing else."""

import io
import json
import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from optuna.artifacts.exceptions import ArtifactNotFound

from autoprune.agent.housing.workspace import (
    FRONT,
    ONNX,
    PAGE,
    POLICY,
    PROGRAM,
    REPORT,
    RESULT,
)
from autoprune.artifacts.files import PLAN, WEIGHTS
from autoprune.core.fingerprint import fingerprint
from autoprune.core.policy import Policy

_DOCUMENTS = (PAGE, REPORT, RESULT, POLICY, FRONT)
_MODELS = (WEIGHTS, PLAN, ONNX, PROGRAM)
_KINDS = {".html": "text/html; charset=utf-8", ".md": "text/plain; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something that can be read.

    Args:
        id: What names it in addresses, hex digits.
        name: Its file name.
        open: Opens it.
    """

    id: str
    name: str
    open: Callable[[], BinaryIO]

    def to_json(self) -> str:
        """Return what optuna-dashboard keeps of it."""
        suffix = Path(self.name).suffix
        kind = _KINDS.get(suffix) or mimetypes.guess_type(self.name)[0]
        told: dict[str, Any] = {
            "artifact_id": self.id,
            "filename": self.name,
            "mimetype": kind or "application/octet-stream",
            "encoding": None,
        }
        return json.dumps(told)


def files_of(folder: Path | None) -> Iterator[Artifact]:
    """Yield the files of a result that are there; links to elsewhere are none."""
    for name in (*_DOCUMENTS, *_MODELS) if folder is not None else ():
        assert folder is not None
        path = folder / name
        if path.is_file() and not path.is_symlink():
            yield Artifact(id=_id(str(path)), name=name, open=_Opens(path))


def policy_artifact(study_id: int, number: int, policy: Policy) -> Artifact:
    """Return the policy of a trial as a file."""
    content = (policy.to_json() + "\n").encode()
    about = f"{study_id} {number} {policy.fingerprint}"
    return made(about, f"policy-of-trial-{number}.json", lambda: io.BytesIO(content))


def made(about: str, name: str, open: Callable[[], BinaryIO]) -> Artifact:
    """Return something that is made when it is read.

    Args:
        about: Tells it apart from others.
        name: Its file name.
        open: Makes it.
    """
    return Artifact(id=_id(about), name=name, open=open)


@dataclass(frozen=True)
class _Opens:
    path: Path

    def __call__(self) -> BinaryIO:
        if self.path.is_symlink():
            raise ArtifactNotFound(f"{self.path.name} is a link.")
        try:
            return self.path.open("rb")
        except OSError as err:
            raise ArtifactNotFound(f"{self.path.name}: {err.strerror}") from err


@dataclass
class ReadOnlyArtifacts:
    """Optuna's artifact store, of what it was told of.

    Args:
        known: What can be read, by id.
    """

    known: dict[str, Artifact] = field(default_factory=dict)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact.

        Raises:
            ArtifactNotFound: If there is none.
        """
        found = self.known.get(artifact_id)
        if found is None:
            raise ArtifactNotFound(f"There is no artifact {artifact_id}.")
        return found.open()

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse: runs are only looked at."""
        raise PermissionError("Artifacts of runs cannot be changed here.")

    def remove(self, artifact_id: str) -> None:
        """Refuse: runs are only looked at."""
        raise PermissionError("Artifacts of runs cannot be changed here.")


def _id(text: str) -> str:
    return fingerprint(text)[:32]
