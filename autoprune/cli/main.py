"""The ``autoprune`` command. Nothing here imports torch, so help and errors come at once."""

import errno
import sys
import warnings
from typing import Annotated, Any

import typer

from autoprune import __version__
from autoprune.cli.agent import agent
from autoprune.cli.dashboard import dashboard
from autoprune.cli.dashboards import dashboards
from autoprune.cli.db import db
from autoprune.cli.export import export
from autoprune.cli.jobs import jobs
from autoprune.cli.latency import latency
from autoprune.cli.ledger import ledger
from autoprune.cli.metrics import metrics
from autoprune.cli.profile import profile
from autoprune.cli.report import report
from autoprune.cli.runners import runners
from autoprune.cli.runs import runs
from autoprune.cli.search import search
from autoprune.cli.spaces import spaces
from autoprune.cli.streams import echo
from autoprune.cli.units import units
from autoprune.core.terminal_text import shortened
from autoprune.errors import (
    ConfigError,
    ElsewhereError,
    InfrastructureError,
    InputError,
    VerificationError,
)

# What the system says of a path that cannot be one, or leads where nobody may look: it says so
# wherever the path is first looked at.
_OF_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOTDIR)

app = typer.Typer(
    name="autoprune",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(search)
app.command()(profile)
app.command()(units)
app.command()(ledger)
app.command()(report)
app.command()(export)
app.command()(dashboard)
runs.command()(metrics)
app.add_typer(agent, name="agent")
app.add_typer(spaces, name="spaces")
app.add_typer(latency, name="latency")
app.add_typer(jobs, name="jobs")
app.add_typer(runs, name="runs")
app.add_typer(runners, name="runners")
app.add_typer(db, name="db")
app.add_typer(dashboards, name="dashboards")


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(__version__)
        raise typer.Exit


@app.callback()
def autoprune(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Prune a trained PyTorch vision model to fit a budget.

    Compute is counted in MACs (multiply-adds); flops = 2 x macs.

    Exit codes: 0 done, or left to another process that does it; 2 something you gave cannot be
    used; 3 stopped by a deadline or SIGTERM, the same command goes on; 4 workers, cluster or
    database server failed, the same command goes on later; 130 stopped by Ctrl-C; 1 anything else,
    such as a result that failed its checks and was not written.
    """


def main() -> None:
    """Run the command line; errors that are expected are one paragraph on standard error."""
    warnings.showwarning = _show
    try:
        app()
    except InputError as err:
        _end(err, 2)
    except ElsewhereError as err:
        _end(err, 0)
    except InfrastructureError as err:
        _end(err, 4)
    except VerificationError as err:
        _end(err, 1)
    except OSError as err:
        if err.errno not in _OF_PATHS or err.filename is None:
            raise
        _end(ConfigError(f"Cannot use {err.filename!r}: {err.strerror}. Check the path."), 2)


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print a warning as a person reads it, without the line of code that it comes from."""
    echo(f"autoprune: warning: {message}", err=True)


def _end(err: Exception, code: int) -> None:
    sys.stdout.flush()
    echo(f"autoprune: {shortened(str(err))}", err=True)
    raise SystemExit(code) from err
