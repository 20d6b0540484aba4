"""The report of runs, for `autoprune.report`, its command, and the end of a search."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from autoprune.agent.runs.listed import ListedRun, find_listed
from autoprune.agent.runs.workspace import PAGE
from autoprune.artifacts.files import write_text
from autoprune.errors import ConfigError, OutputError
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.gather import gather
from autoprune.reporting.html import MADE_BY, render_html
from autoprune.storage.shared import missing_file, shared_database

_START = 4096  # bytes of a file that tell whether it is a report


def report(
    runs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    *,
    database: str | Path | None = None,
) -> Path:
    """Write one HTML file that shows what runs came to and why, and return it.

    It needs no network. Several runs are compared, then each is shown. One that is not finished
    is shown as far as it is. A report that is there is replaced.

    Args:
        runs: A run or several: their folders, or names on the database that runs share.
        out: The file, or a folder that is there; None for ``report.html`` in the run's folder.
        database: URL or file of the database that runs share; None for
            ``$AUTOPRUNE_DATABASE``, else a file in your settings folder.

    Raises:
        ArtifactError: If a run's ledger is of a newer autoprune.
        ConfigError: If there is no such run, or none is given, or ``out`` is needed.
        OutputError: If the file is no report and there already, or cannot be written.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    if not given:
        raise ConfigError("A report needs a run at least: its folder, or its name.")
    found, folder = _gathered(given, None if database is None else str(database))
    file = _file(None if out is None else Path(out), folder)
    write_text(file, render_html(found))
    return file


def _gathered(
    given: list[str | Path], database: str | None
) -> tuple[list[RunEvidence], Path | None]:
    """Return the evidence of each run, and the folder of the only one, if it is here."""
    if missing_file(database) is not None:
        listed = [find_listed(str(one), None) for one in given]
        return _named(given, [gather(one) for one in listed]), _folder(listed)
    with closing(shared_database(database)) as shared:
        listed = [find_listed(str(one), shared) for one in given]
        return _named(given, [gather(one) for one in listed]), _folder(listed)


def _named(given: list[str | Path], found: list[RunEvidence]) -> list[RunEvidence]:
    """Return runs by what they were asked for by, where some have the same name."""
    if len({one.name for one in found}) == len(found):
        return found
    return [replace(run, name=str(name)) for run, name in zip(found, given, strict=True)]


def _folder(listed: list[ListedRun]) -> Path | None:
    folder = listed[0].folder if len(listed) == 1 else None
    return folder if folder is not None and folder.is_dir() else None


def _is_report(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return MADE_BY.encode() in opened.read(_START)
    except OSError:
        return False


def _file(out: Path | None, folder: Path | None) -> Path:
    """Return the file to write.

    Raises:
        ConfigError: If it is not given and there is no folder for it.
        OutputError: If its folder is missing, or it is there and no report.
    """
    if out is None and folder is None:
        raise ConfigError(
            "Several runs, or one whose folder is not here: say where the report is to go, with "
            f"--out {PAGE} (out= in Python)."
        )
    file = out or folder or Path()
    file = file / PAGE if file.is_dir() else file
    if file.suffix != ".html":
        raise OutputError(f"The name of the file must end with .html. Got {str(file)!r}.")
    if not file.parent.is_dir():
        raise OutputError(
            f"There is no folder {str(file.parent)!r} to write into. Make it first, or choose "
            "another --out (out= in Python)."
        )
    if file.exists() and not _is_report(file):
        raise OutputError(
            f"{file} exists already and is no report of autoprune. Choose another --out (out= in "
            "Python)."
        )
    return file
