"""What rendering gives: the text of job files."""

from dataclasses import dataclass
from pathlib import Path

from autoprune.errors import OutputError


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job.

    Args:
        name: Its name.
        text: Its content.
        runs: Whether it is a script.
    """

    name: str
    text: str
    runs: bool = False


def write(files: tuple[JobFile, ...], folder: Path) -> list[Path]:
    """Write job files into a folder, over what was there, and return their paths.

    Raises:
        OutputError: If the folder or a file cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / file.name
            path.write_text(file.text, encoding="utf-8")
            path.chmod(0o755 if file.runs else 0o644)
            paths.append(path)
    except OSError as err:
        raise OutputError(f"Cannot write job files into {folder}: {err.strerror}.") from err
    return paths
