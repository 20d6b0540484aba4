"""Runs that lie where nothing may be written, read by whoever may not write there."""

import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from autoprune.agent.housing.workspace import CONFIG, DATABASE, Workspace
from autoprune.agent.run import kept_evaluations
from autoprune.artifacts.files import write_text
from autoprune.errors import OutputError
from autoprune.ledger_api import ledger
from autoprune.report_api import report

Run = Callable[..., tuple[int, str, str]]
NOBODY = 65534


@pytest.fixture
def run(project: Path, run_autoprune: Run) -> Iterator[Path]:
    """Return a finished run that this user, or ``NOBODY`` where this is root, cannot write."""
    command = ("search", "search.yaml", "--quiet", "--trials", "16", "--out", "runs/one")
    code, _, err = run_autoprune(*command)
    assert code == 0, err
    place = Path(mkdtemp())  # that of pytest is closed to others
    place.chmod(0o755)
    folder = place / "run"
    shutil.copytree(project / "runs/one", folder)
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place)


def without_rights(check: Callable[[], None]) -> None:
    """Call ``check`` in a child that is not root: root may write anywhere.

    A fork, as whoever is not root may not even start root's interpreter.
    """
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            check()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_what_a_run_holds_is_read_from_a_copy(run: Path, project: Path) -> None:
    entries, count = ledger(project / "runs/one"), kept_evaluations(project / "runs/one")
    assert entries
    assert count >= 16

    def check() -> None:
        assert not os.access(run / DATABASE, os.W_OK)
        assert ledger(run) == entries
        assert kept_evaluations(run) == count
        place = Path(mkdtemp())
        page = report(run, place / "report.html", database=place / "none.db")
        assert "finished" in page.read_text(encoding="utf-8")
        with pytest.raises(OutputError, match=r"report\.html cannot be written"):
            report(run, database=place / "none.db")
        shutil.rmtree(place)

    before = sorted(path.name for path in run.iterdir())
    without_rights(check)
    assert sorted(path.name for path in run.iterdir()) == before


def test_what_cannot_be_written_or_removed_is_said(run: Path) -> None:
    def check() -> None:
        with pytest.raises(OutputError, match=r"run\.json cannot be written: Permission denied"):
            write_text(run / CONFIG, "{}")
        with pytest.raises(OutputError, match=r"cannot be removed: Permission denied\. Mend"):
            Workspace(run, "overwrite").start({})

    without_rights(check)
