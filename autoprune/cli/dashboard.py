"""``autoprune dashboard``: optuna-dashboard on a run, to look at and nothing else."""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.database import Database, opened
from autoprune.cli.model_options import AsJson
from autoprune.cli.stopping import Stop, stoppable
from autoprune.cli.streams import echo


def dashboard(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|URL",
            help="Folder or name of a run, or a database URL for all studies in it.",
        ),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")
    ] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on: one of this machine alone.")
    ] = "127.0.0.1",
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show a run, or all studies of a database, in a browser until stopped.

    It may be looked at while searches go on: nothing is written, neither to the database nor to
    folders, and whoever asks to change something is refused. Others cannot reach it.
    """
    from autoprune.core.secrets import redact
    from autoprune.reporting.dashboard.server import loopback, served
    from autoprune.reporting.dashboard.watch import viewed

    listen = loopback(host)
    with stoppable(None), suppress(KeyboardInterrupt, Stop):
        url, only = _place(run, database)
        with viewed(url, only) as (view, store), served(view, store, listen, port) as address:
            studies = view.get_all_studies()
            page = f"/dashboard/studies/{studies[0]._study_id}" if len(studies) == 1 else ""
            told = {
                "url": f"{address.url}{page or '/dashboard'}",
                "studies": len(studies),
                "database": redact(url),
            }
            echo(json.dumps(told) if as_json else told["url"])
            if not as_json:
                echo(f"autoprune: shows {redact(url)}; Ctrl-C ends it", err=True)
            threading.Event().wait()


def _place(given: str, database: str | None) -> tuple[str, str | None]:
    """Return the URL of a database, and the study in it that is meant; None for all."""
    from autoprune.agent.housing.listed import find_listed
    from autoprune.agent.housing.workspace import database_in
    from autoprune.errors import ConfigError
    from autoprune.storage.engine import sqlite_url

    if "://" in given:
        return given, None
    if Path(given).is_file():
        return sqlite_url(Path(given).absolute()), None
    file = database_in(Path(given))
    if file is not None:
        return sqlite_url(file.absolute()), None
    with opened(database) as shared:
        found = find_listed(given, shared)
        url, on_server, folder = shared.url if shared else "", found.on_server, found.folder
    if on_server:
        return url, found.run.name
    file = database_in(folder) if folder is not None else None
    if file is None:
        raise ConfigError(f"The run's folder {folder} is gone, or holds no run now.")
    return sqlite_url(file.absolute()), None
