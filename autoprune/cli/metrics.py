"""``autoprune runs metrics``: all runs of a database, for Prometheus."""

import re
import threading
from contextlib import suppress
from typing import Annotated, Any

import typer

from autoprune.cli.database import KnownRuns, opened
from autoprune.cli.stopping import Stop, stoppable
from autoprune.cli.streams import echo

_PORTS = 65535  # the last one
_ADDRESS = re.compile(r"(?:(?:\[(?P<six>[^][]+)\]|(?P<host>[^][:]*)):)?(?P<port>[0-9]{1,5})")


def metrics(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Serve them over HTTP until stopped, on this machine alone if HOST is left out.",
        ),
    ] = None,
    database: KnownRuns = None,
) -> None:
    """Print metrics of all runs for Prometheus, or serve them.

    Each run's state, evaluations, quality and MACs so far and agents, read anew for each look.
    """
    from autoprune.reporting.metrics import served, text_of

    def read() -> dict[str, dict[str, Any]]:
        from autoprune.agent.housing.listed import listed_runs

        with opened(database) as shared:
            found = listed_runs(shared) if shared else []
            return {one.name if one.on_server else str(one.folder): one.to_dict() for one in found}

    if listen is None:
        echo(text_of(read), nl=False)
        return
    host, port = _address(listen)
    with stoppable(None), suppress(KeyboardInterrupt, Stop), served(read, host, port) as taken:
        shown = f"[{host}]" if ":" in host else host
        echo(f"autoprune: metrics at http://{shown}:{taken}/metrics", err=True)
        threading.Event().wait()


def _address(listen: str) -> tuple[str, int]:
    from autoprune.errors import ConfigError

    found = _ADDRESS.fullmatch(listen)
    if not found or int(found["port"]) > _PORTS:
        raise ConfigError(
            "--listen must be PORT or HOST:PORT, such as 9464, or [::1]:9464 for an address of "
            f"IPv6. Got {listen!r}."
        )
    return found["six"] or found["host"] or "127.0.0.1", int(found["port"])
