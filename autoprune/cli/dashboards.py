"""``autoprune dashboards``: definitions of dashboards for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autoprune._resources import names, resource
from autoprune.cli.listing import print_shipped
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo

_FOLDER, _KIND = "dashboards", "grafana"

dashboards = typer.Typer(
    no_args_is_help=True, help="Definitions of dashboards for other programs: list and export."
)


@dashboards.command("list")
def list_dashboards(as_json: AsJson = False) -> None:
    """List the dashboards that come with autoprune."""
    found = [
        {"kind": _KIND, "name": Path(name).name, "description": _description(name)}
        for name in _known()
    ]
    print_shipped(found, as_json, ("kind", "name"))


@dashboards.command()
def export(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What they are for: grafana.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder that they are written to.")],
    as_json: AsJson = False,
) -> None:
    """Write the dashboards for a program into a folder, to be imported there.

    Those for grafana read a PostgreSQL that searches share ($AUTOPRUNE_DATABASE); Grafana asks
    for the database, and no password is in them. Files of the same names are replaced.
    """
    from autoprune.artifacts.files import write_text
    from autoprune.errors import ConfigError, OutputError

    if kind != _KIND:
        raise ConfigError(f"There are dashboards for {_KIND!r} only. Got {kind!r}.")
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"The folder {to} cannot be made: {err.strerror}.") from err
    written = []
    for name in _known():
        path = to / f"{Path(name).name}.json"
        write_text(path, resource(_FOLDER, f"{name}.json").read_text(encoding="utf-8"))
        written.append(str(path))
    echo(json.dumps({"written": written}, indent=2) if as_json else "\n".join(written))


def _known() -> list[str]:
    return [name for name in names(_FOLDER, ".json") if name.startswith(f"{_KIND}/")]


def _description(name: str) -> str:
    content = json.loads(resource(_FOLDER, f"{name}.json").read_text(encoding="utf-8"))
    return str(content["description"])
