"""What stands before the dashboard: other sites, other addresses and all changes are refused."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from autoprune.errors import ConfigError
from autoprune.reporting.dashboard.guard import Guard
from autoprune.reporting.dashboard.server import Address, loopback

HOST = "127.0.0.1:8080"
Answer = tuple[str, dict[str, str], bytes]


def inside(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """Answer everything, as the dashboard would."""
    kind = [("Content-Type", "application/json"), ("Access-Control-Allow-Origin", "*")]
    start("200 OK", [*kind, ("Content-Length", "99")])
    return [b'{"best_trials": ["over the budget"]}']


def ask(path: str = "/dashboard", method: str = "GET", **headers: str) -> Answer:
    """Return status, headers and body of the answer to a request."""
    begun: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": HOST}
    environ |= {f"HTTP_{name}": value for name, value in headers.items()}
    guard = Guard(inside, Address("127.0.0.1", 8080).hosts, lambda study: [{"number": study}])
    body = b"".join(guard(environ, lambda *told: begun.extend(told)))
    return begun[0], dict(begun[1]), body


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/dashboard", "/dashboard/studies/1/trials", "/favicon.ico", "/static/bundle.js"),
        *("/csv/3", "/api/meta", "/api/studies", "/api/studies/1/param_importances"),
        *("/api/studies/1/plot/contour", "/artifacts/1/2/abcdef", "/artifacts/1/ab"),
    ],
)
def test_whoever_looks_is_let_through(path: str) -> None:
    assert ask(path)[0] == "200 OK"
    assert ask(path, HOST="localhost:8080")[0] == "200 OK"
    assert ask(path, HOST="[::1]:8080", ORIGIN="http://[::1]:8080")[0] == "200 OK"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1:8081", ""])
def test_another_name_of_this_machine_is_refused(host: str) -> None:
    status, _, body = ask(HOST=host)
    assert status.startswith("421")
    assert b"best_trials" not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"http://{HOST}.evil.example"])
def test_requests_of_other_sites_are_refused(origin: str) -> None:
    assert ask(ORIGIN=origin)[0].startswith("403")


def test_of_other_sites_links_are_followed_and_nothing_is_embedded() -> None:
    assert ask(SEC_FETCH_SITE="cross-site", SEC_FETCH_MODE="navigate")[0] == "200 OK"
    for mode in ("no-cors", "cors", "websocket"):
        assert ask(SEC_FETCH_SITE="cross-site", SEC_FETCH_MODE=mode)[0].startswith("403")
    assert ask(SEC_FETCH_SITE="same-origin", SEC_FETCH_MODE="cors")[0] == "200 OK"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_all_that_changes_something_is_refused(method: str) -> None:
    status, headers, _ = ask("/api/studies/1", method)
    assert status.startswith("405")
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        *("/incompatible-rdb-schema", "/api/llm/trial_filter_query", "/api/studies/1/rename"),
        *("/artifacts/1/../../etc/passwd", "/static/../x", "/static/a/b", "/api"),
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    assert ask(path)[0].startswith("404")


def test_answers_may_be_read_by_nobody_else_and_shown_in_no_frame() -> None:
    for path in ("/dashboard", "/artifacts/1/ab"):
        _, headers, _ = ask(path)
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_scripts_of_an_artifact_are_shut_off_from_the_dashboard() -> None:
    policy = ask("/artifacts/1/ab")[1]["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts allow-downloads; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert "Content-Security-Policy" not in ask("/dashboard")[1], "the dashboard has its own"


def test_the_best_trials_of_a_study_are_the_true_ones() -> None:
    _, headers, body = ask("/api/studies/7")
    assert json.loads(body) == {"best_trials": [{"number": 7}]}
    assert headers["Content-Length"] == str(len(body))
    assert json.loads(ask("/api/studies")[2]) == {"best_trials": ["over the budget"]}


def test_port_80_needs_no_port() -> None:
    assert "localhost" in Address("127.0.0.1", 80).hosts
    assert "localhost" not in Address("127.0.0.1", 8080).hosts


def test_the_address_of_ipv6_is_written_in_brackets() -> None:
    assert Address("::1", 8080).url == "http://[::1]:8080"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.0.2"])
def test_addresses_of_this_machine_alone_are_taken(host: str) -> None:
    assert loopback(host) == host
    assert loopback("localhost") == "127.0.0.1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_addresses_that_others_reach_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="asks nobody for a password"):
        loopback(host)
