"""``autoprune spaces``: search spaces, shipped and your own."""

import json
from typing import Annotated, Any

import typer

from autoprune._resources import names
from autoprune.cli.listing import print_shipped
from autoprune.cli.model_options import (
    MODEL_HELP,
    Args,
    AsJson,
    AsList,
    Inputs,
    build,
    random_inputs,
)
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.space.loader import FOLDER, find_space, load_space

Space = Annotated[
    str, typer.Argument(metavar="SPACE", help="A shipped space, or file:PATH for your own.")
]

spaces = typer.Typer(no_args_is_help=True, help="Search spaces: list, show and check them.")


@spaces.command("list")
def list_spaces(as_json: AsJson = False) -> None:
    """List the search spaces that come with autoprune."""
    print_shipped([_summary(name) for name in names(FOLDER, ".yaml")], as_json)


@spaces.command()
def show(space: Space, as_json: AsJson = False) -> None:
    """Print a search space: the file with its comments, or what was understood of it."""
    loaded = load_space(space)
    if as_json:
        echo(loaded.model_dump_json(by_alias=True, indent=2))
    else:
        echo(find_space(space).read_text(encoding="utf-8"), nl=False)


@spaces.command()
def check(
    space: Space,
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)],
    inputs: Inputs,
    args: Args = None,
    as_list: AsList = False,
    as_json: AsJson = False,
) -> None:
    """Print what a search space allows for each unit of a model.

    A pattern that matches no unit, and a method that nobody has, are errors.
    """
    with stdout_to_stderr():
        loaded = load_space(space)
        from autoprune import units_api

        given = build(model, args or []), random_inputs(inputs, as_list)
        found = units_api.check_space(loaded, *given)
    if as_json:
        echo(json.dumps(found.to_dict(), indent=2))
        return
    from autoprune.reporting.model_terminal import print_space_check

    print_space_check(found)


def _summary(name: str) -> dict[str, Any]:
    space = load_space(name)
    return {"name": name, "description": space.description, "for": space.for_}
