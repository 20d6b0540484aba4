"""``autoprune units``: a thin client of `autoprune.units_api`."""

import json
from typing import Annotated

import typer

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


def units(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    inputs: Inputs,
    args: Args = None,
    as_list: AsList = False,
    as_json: AsJson = False,
) -> None:
    """List what of a model can be pruned, what cannot, and the op that is in the way.

    One forward is traced, and every unit is verified by value.
    """
    with stdout_to_stderr():
        from autoprune import units_api

        found = units_api.units(build(model, args or []), random_inputs(inputs, as_list))
    if as_json:
        echo(json.dumps(found.to_dict(), indent=2))
        return
    from autoprune.reporting.model_terminal import print_inventory

    print_inventory(found)
