"""``autoprune runs metrics``: what Prometheus reads of runs."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoprune.cli.metrics import _address
from autoprune.errors import ConfigError, OutputError
from autoprune.reporting.metrics import served, text_of
from autoprune.storage.runs import Runs
from autoprune.storage.shared import shared_database

Run = Callable[..., tuple[int, str, str]]
NIGHT = {"state": "running", "evaluations": 7, "quality": 0.9, "macs_share": 0.5, "agents": 2}
NEW = {"state": "stopped", "evaluations": 0, "quality": None, "macs_share": None, "agents": 0}


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return values by name and run; of states those that hold."""
    families = text_string_to_metric_families(text)
    found = [sample for family in families for sample in family.samples]
    return {
        (sample.labels.get("autoprune_run_state", sample.name), sample.labels.get("run", "")): (
            sample.value
        )
        for sample in found
    }


def test_each_run_has_its_figures_and_what_is_not_known_is_left_out() -> None:
    found = samples(text_of(lambda: {"night": NIGHT, 'a "new" one': NEW}))
    assert found["autoprune_database_up", ""] == 1
    assert found["autoprune_run_evaluations", "night"] == 7
    assert found["autoprune_run_macs_share", "night"] == 0.5
    assert found["autoprune_run_agents", "night"] == 2
    assert found["autoprune_run_evaluations", 'a "new" one'] == 0
    assert ("autoprune_run_quality", 'a "new" one') not in found
    assert (found["running", "night"], found["stopped", "night"]) == (1, 0)


def away() -> Any:
    raise OutputError("The database is away.")


def test_a_database_that_is_away_is_told_and_is_no_error() -> None:
    assert samples(text_of(away)) == {("autoprune_database_up", ""): 0}


def test_metrics_are_read_anew_for_each_request() -> None:
    seen = iter(({"night": NIGHT}, {"night": {**NIGHT, "evaluations": 8}}))
    with served(lambda: next(seen), "127.0.0.1", 0) as port:
        counts = [got(port)["autoprune_run_evaluations", "night"] for _ in range(2)]
        with (
            pytest.raises(ConfigError, match=rf"listen on 127.0.0.1:{port}.*Choose another port"),
            served(away, "127.0.0.1", port),
        ):
            pass
    assert counts == [7, 8]


def got(port: int, host: str = "127.0.0.1") -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        return samples(answer.read().decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with shared_database() as shared:
        shared.start_run(str(tmp_path / "night"), {}, "model", "data")
        assert len(Runs(shared).all()) == 1
    return tmp_path / "night"


def test_the_command_prints_the_runs_of_the_database(run_autoprune: Run, folder: Path) -> None:
    code, out, err = run_autoprune("runs", "metrics")
    assert (code, err) == (0, "")
    assert samples(out)["stopped", str(folder)] == 1


def test_without_the_library_it_says_what_to_install(
    run_autoprune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "autoprune.reporting.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    code, _, err = run_autoprune("runs", "metrics")
    assert code == 2
    assert "pip install 'autoprune[metrics]'" in err


@contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[str]]:
    begun = subprocess.Popen(
        [sys.executable, "-m", "autoprune", "runs", "metrics", *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield begun
    finally:
        begun.kill()
        begun.communicate()


def port_of(begun: subprocess.Popen[str], host: str) -> int:
    """Return the port that the command says it serves at."""
    assert begun.stderr is not None
    said = begun.stderr.readline()
    at = re.search(rf"http://{re.escape(host)}:(\d+)/metrics", said)
    assert at, said
    return int(at[1])


@pytest.mark.skipif(os.name != "posix", reason="stops by a signal")
def test_the_command_serves_until_it_is_stopped(folder: Path) -> None:
    with command("--listen", "0") as begun:
        assert got(port_of(begun, "127.0.0.1"))["stopped", str(folder)] == 1
        begun.send_signal(signal.SIGTERM)
        assert begun.wait(30) == 0


def six() -> bool:
    """Tell whether this machine has IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(os.name != "posix" or not six(), reason="needs IPv6, stops by a signal")
def test_the_command_serves_at_an_address_of_ipv6(folder: Path) -> None:
    with command("--listen", "[::1]:0") as begun:
        assert got(port_of(begun, "[::1]"), "[::1]")["stopped", str(folder)] == 1


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("node-3:1", ("node-3", 1)),
        ("[::1]:9464", ("::1", 9464)),
        ("[fe80::1%eth0]:9464", ("fe80::1%eth0", 9464)),
    ],
)
def test_addresses_are_told_from_their_ports(given: str, address: tuple[str, int]) -> None:
    assert _address(given) == address


@pytest.mark.parametrize(
    "given", ["ninety", "host:", "1:70000", "", "::1", "::1:9464", "[::1]", "[::1:9464", "[]:9464"]
)
def test_an_address_that_is_none_is_refused(run_autoprune: Run, given: str) -> None:
    code, _, err = run_autoprune("runs", "metrics", "--listen", given)
    assert code == 2
    assert "--listen must be PORT or HOST:PORT, such as 9464" in err
