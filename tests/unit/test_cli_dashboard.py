"""``autoprune dashboard``: what it shows, how it ends, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import create_trial

from autoprune.storage.engine import sqlite_url

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.usefixtures("quiet_optuna")


@contextmanager
def command(*words: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """Yield the command, and what it said once it serves."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "autoprune", "dashboard", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # where tests run in the background, SIGINT is ignored, and children inherit that
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert begun.stdout is not None
        line = begun.stdout.readline()
        assert line, begun.communicate()[1]
        yield begun, json.loads(line)
    finally:
        begun.kill()
        begun.communicate()


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = sqlite_url(tmp_path / "theirs.db")
    for name in ("one", "two"):
        optuna.create_study(storage=found, study_name=name).add_trial(create_trial(value=1))
    return found


@pytest.mark.skipif(os.name != "posix", reason="stops by a signal")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_all_studies_of_a_database_until_it_is_stopped(url: str, stop: int) -> None:
    with command(url) as (begun, told):
        assert told["studies"] == 2
        assert told["database"] == url
        base = told["url"].removesuffix("/dashboard")
        with urllib.request.urlopen(f"{base}/api/studies", timeout=60) as answer:
            found = json.load(answer)["study_summaries"]
        assert [one["study_name"] for one in found] == ["one", "two"]
        change = urllib.request.Request(f"{base}/api/studies/1", method="DELETE")
        with pytest.raises(urllib.error.HTTPError, match="405") as refused:
            urllib.request.urlopen(change, timeout=60)
        refused.value.close()
        begun.send_signal(stop)
        assert begun.wait(60) == 0
        assert begun.stderr is not None
        assert begun.stderr.read() == ""


def test_a_port_that_is_taken_is_told(url: str, run_autoprune: Run) -> None:
    with command(url) as (_, told):
        port = told["url"].split(":")[2].partition("/")[0]
        code, _, err = run_autoprune("dashboard", url, "--port", port)
    assert code == 2
    assert "Choose another --port" in err


def test_an_address_that_others_reach_is_refused(url: str, run_autoprune: Run) -> None:
    code, _, err = run_autoprune("dashboard", url, "--host", "0.0.0.0")
    assert code == 2
    assert "--host must be an address of this machine alone" in err


def test_a_run_that_is_not_known_is_told(run_autoprune: Run, tmp_path: Path) -> None:
    code, _, err = run_autoprune("dashboard", str(tmp_path / "nothing"))
    assert code == 2
    assert "There is no run" in err


def test_passwords_are_never_told(run_autoprune: Run) -> None:
    url = "postgresql+nothing://me:secret@host/name"
    code, out, err = run_autoprune("dashboard", url)
    assert code == 2
    assert "secret" not in out + err


def test_without_the_library_it_says_what_to_install(
    url: str, run_autoprune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "autoprune.reporting.dashboard.server", raising=False)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    monkeypatch.delitem(sys.modules, "optuna_dashboard._app", raising=False)
    code, _, err = run_autoprune("dashboard", url)
    assert code == 2
    assert "pip install 'autoprune[dashboard]'" in err


def test_to_show_a_run_needs_no_torch() -> None:
    code = "import sys, autoprune.reporting.dashboard.server, autoprune.reporting.dashboard.watch"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
