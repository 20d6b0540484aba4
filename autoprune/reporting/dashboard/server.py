"""Serves optuna-dashboard on this machine alone. Needs ``autoprune[dashboard]``."""

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import AF_INET6
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autoprune.errors import ConfigError
from autoprune.reporting.dashboard.artifacts import ReadOnlyArtifacts
from autoprune.reporting.dashboard.guard import Application, Guard
from autoprune.reporting.dashboard.view import View

try:
    from optuna_dashboard._app import create_app
    from optuna_dashboard._serializer import serialize_frozen_trial
except ImportError as err:
    raise ConfigError(
        "The dashboard needs optuna-dashboard. Install it with: pip install 'autoprune[dashboard]'"
    ) from err

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where it is served.

    Args:
        host: Address to listen on.
        port: Port.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for a browser."""
        return f"http://{self._written(self.host)}:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser may say that it talks to."""
        names = {"localhost", LOOPBACK, "[::1]", self._written(self.host)}
        plain = names if self.port == 80 else set[str]()
        return frozenset({f"{name}:{self.port}" for name in names} | plain)

    @staticmethod
    def _written(host: str) -> str:
        return f"[{host}]" if ":" in host else host


def loopback(host: str) -> str:
    """Return the address of a host that only this machine can reach.

    Raises:
        ConfigError: If others can reach it too.
    """
    if host == "localhost":
        return LOOPBACK
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise ConfigError(
            f"--host must be an address of this machine alone: localhost, {LOOPBACK} or ::1. Got "
            f"{host!r}. The dashboard asks nobody for a password. To look from elsewhere, use a "
            "tunnel (ssh -L 8080:127.0.0.1:PORT HOST), or a proxy with a log-in that sets Host."
        )
    return host


def application(view: View, store: ReadOnlyArtifacts, hosts: frozenset[str]) -> Guard:
    """Return the dashboard of a view as a WSGI application that only answers to ``hosts``."""
    inside: Application = create_app(view, artifact_store=store)

    def best(study_id: int) -> list[dict[str, Any]] | None:
        if len(view.get_study_directions(study_id)) == 1 and view.best_trials(study_id):
            return None  # it asks the view for it
        attributes = view.get_study_system_attrs(study_id)
        trials = view.best_trials(study_id)
        return [serialize_frozen_trial(study_id, trial, attributes) for trial in trials]

    return Guard(inside, hosts, best)


@contextmanager
def served(view: View, store: ReadOnlyArtifacts, host: str, port: int) -> Iterator[Address]:
    """Serve the dashboard of a view for as long as the block lasts; yield where.

    Args:
        view: What it shows.
        store: Its artifacts.
        host: Address to listen on, see `loopback`.
        port: Port, 0 for any that is free.

    Raises:
        ConfigError: If nobody can listen there.
    """
    kind = _Server6 if ":" in host else _Server
    try:
        server: WSGIServer = make_server(
            host, port, _not_yet, server_class=kind, handler_class=_Handler
        )
    except OSError as err:
        raise ConfigError(
            f"Nobody can listen on {host}:{port}: {err.strerror}. Choose another --port, or none."
        ) from err
    address = Address(host, server.server_port)
    server.set_app(application(view, store, address.hosts))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    """Says nothing of requests: addresses hold names of runs, and terminals are for people."""

    timeout = 30.0  # seconds that somebody may take to ask

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _not_yet(environ: dict[str, Any], start: Any) -> list[bytes]:
    start("503 Service Unavailable", [])
    return []
