"""A deadline and SIGTERM end a command; imports are not cut short."""

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from autoprune.cli import stopping
from autoprune.cli.stopping import Stop, stoppable

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of Unix")
SLOW = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass\n"


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    return tmp_path / "slow_to_import.py"


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def kill_and_wait() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    wait(20)


def import_and_wait() -> None:
    assert import_module("slow_to_import").done
    wait(20)


def test_the_deadline_ends_the_block() -> None:
    began = time.monotonic()
    with pytest.raises(Stop, match="at the deadline"), stoppable(0.05):
        wait(20)
    assert time.monotonic() - began < 10


def test_sigterm_ends_the_block_and_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with pytest.raises(Stop, match="by SIGTERM"), stoppable(None):
        kill_and_wait()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before


def test_a_block_that_ends_in_time_is_not_stopped() -> None:
    with stoppable(0.05):
        pass
    wait(0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("why", ["by SIGTERM", "at the deadline"])
def test_an_import_is_finished_first(slow: Path, why: str) -> None:
    sends = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"
    slow.write_text((sends if "SIGTERM" in why else "") + SLOW.format(seconds=0.3) + "done = 1\n")
    began = time.monotonic()
    with pytest.raises(Stop, match=why), stoppable(0.1 if "deadline" in why else None):
        import_and_wait()
    assert 0.3 <= time.monotonic() - began < 10


def test_an_import_that_takes_too_long_is_cut_short(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_LONGEST", 0.2)
    slow.write_text(SLOW.format(seconds=30))
    began = time.monotonic()
    with pytest.raises(Stop), stoppable(0.05):
        import_module("slow_to_import")
    assert 0.2 <= time.monotonic() - began < 10


def test_a_statement_of_a_database_is_finished_first(tmp_path: Path) -> None:
    """What is raised inside a driver may be hidden by what its clean-up raises."""
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    ended: list[float] = []

    @event.listens_for(engine, "connect")
    def _add(connection: Any, _: Any) -> None:
        connection.create_function("wait", 1, wait)

    def ask_and_wait() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT wait(0.4)"))
            ended.append(time.monotonic())
        wait(20)

    with pytest.raises(Stop, match="at the deadline"), stoppable(0.1):
        ask_and_wait()
    engine.dispose()
    assert ended


def test_an_error_on_the_way_out_does_not_hide_why() -> None:
    def hide() -> None:
        try:
            wait(20)
        finally:
            raise ValueError("clean-up failed")

    with pytest.raises(Stop, match="at the deadline"), stoppable(0.05):
        hide()


def test_an_error_before_a_stop_is_an_error() -> None:
    with pytest.raises(ValueError, match="a bug"), stoppable(60):
        raise ValueError("a bug")


@pytest.mark.parametrize("deadline", [0.05, 0.3, 0.8])
def test_torch_is_imported_before_the_deadline_counts(deadline: float) -> None:
    code = (
        "import sys\nfrom autoprune.cli.stopping import Stop, stoppable\n"
        f"try:\n    with stoppable({deadline}):\n        import torch\n"
        "        while True: pass\nexcept Stop:\n    sys.exit(3)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=100)
    assert ended.returncode == 3, ended.stderr
