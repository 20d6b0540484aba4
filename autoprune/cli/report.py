"""``autoprune report``: a thin client of `autoprune.report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autoprune.cli.database import Database, here
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo, stdout_to_stderr


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Name of a run, or its folder (--out of the search). Several are compared.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file, or a folder that is there; report.html in the folder of RUN if left "
            "out. A report that is there is replaced.",
        ),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML file that shows what runs came to, and whether to trust it.

    It opens without a network: policy, front and history, what was reverted, predictions,
    latency, where the time went, how to do it again. Runs that are not finished are shown as far
    as they are.
    """
    with stdout_to_stderr():
        from autoprune.report_api import report as write

        file = write(runs, out, database=here(database))
    told = {"file": str(file), "bytes": file.stat().st_size, "runs": runs}
    echo(json.dumps(told) if as_json else str(file))
