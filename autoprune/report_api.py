"""The report of runs, for `autoprune.report`, its command, and the end of a search."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import shorten

from autoprune.agent.housing.listed import ListedRun, find_listed
from autoprune.agent.housing.workspace import PAGE
from autoprune.artifacts.files import write_text
from autoprune.errors import ArtifactError, AutopruneError, ConfigError, OutputError
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.gather import gather
from autoprune.reporting.html import MADE_BY, render_html
from autoprune.storage.database import Database
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
        ArtifactError: If a run's ledger is of a newer autoprune, or a run holds what autoprune did
            not write.
        ConfigError: If there is no such run, or none is given, or ``out`` is needed.
        OutputError: If the file is no report and there already, or cannot be written.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    if not given:
        raise ConfigError("A report needs a run at least: its folder, or its name.")
    found, folder = _gathered(given, None if database is None else str(database))
    file = _file(None if out is None else Path(out), folder)
    with _legible(given):
        page = render_html(found)
    write_text(file, page)
    return file


def _gathered(
    given: list[str | Path], database: str | None
) -> tuple[list[RunEvidence], Path | None]:
    """Return the evidence of each run, and the folder of the only one, if it is here."""
    if missing_file(database) is not None:
        return _read(given, None)
    with closing(shared_database(database)) as shared:
        return _read(given, shared)


def _read(
    given: list[str | Path], shared: Database | None
) -> tuple[list[RunEvidence], Path | None]:
    listed, found = list[ListedRun](), list[RunEvidence]()
    for one in given:
        with _legible([one]):
            listed.append(find_listed(str(one), shared))
            found.append(gather(listed[-1]))
    return _named(given, found), _folder(listed)


@contextmanager
def _legible(runs: Iterable[str | Path]) -> Iterator[None]:
    """Turn what is raised over content that is not as we write it into one error.

    Raises:
        ArtifactError: If something of the runs cannot be read.
    """
    try:
        yield
    except AutopruneError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        raise ArtifactError(
            f"{', '.join(map(str, runs))} holds what autoprune did not write "
            f"({shorten(f'{type(err).__name__}: {err}', 300)}): it is damaged, or something else "
            "wrote to it. Look with autoprune db check, and restore a copy. If that finds nothing "
            "wrong, this may be a fault of ours: please report it."
        ) from err


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
