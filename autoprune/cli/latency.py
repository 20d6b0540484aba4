"""``autoprune latency``: a thin client of `autoprune.latency_api`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.database import Tables, here, named
from autoprune.cli.errors import naming_keys
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from autoprune.execution.config import SearchFile

File = Annotated[Path, typer.Argument(metavar="CONFIG", help="A search file (YAML).")]
TARGET_HELP = "What runs the model: onnxruntime, pytorch/threads=1, torch-compile/batch=8, cuda."
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help=f"{TARGET_HELP} Repeat it for more. If left out, the targets of CONFIG's budget.",
    ),
]
Error = Annotated[
    str,
    typer.Option(metavar="SHARE", help="Share of the layers' time by which tables may be wrong."),
]
Limit = Annotated[
    str,
    typer.Option(metavar="TIME", help="Stop building the tables of a target after 90s, 5m, 1h."),
]

latency = typer.Typer(
    no_args_is_help=True, help="Latency tables of this device: build, check, list and forget them."
)


@latency.command()
def build(
    file: File,
    targets: Targets = None,
    error: Error = "3%",
    limit: Limit = "5m",
    database: Tables = None,
    as_json: AsJson = False,
) -> None:
    """Measure layers of a model on this device, over the sizes its search space allows.

    Steps and tables are fitted to whole models and stored. A search with a limit on latency does
    the same, and does not measure again what is stored.
    """
    with stdout_to_stderr():
        from autoprune import latency_api

        with _interruptible(file, database):
            given = _given(file, targets, error, limit, database)
            with naming_keys(file):
                found = latency_api.build_latency(**given)
    if not _as_json(found, as_json):
        from autoprune.reporting.latency_terminal import print_built

        print_built(found)


@latency.command()
def check(
    file: File,
    targets: Targets = None,
    policies: Annotated[int, typer.Option(min=1, help="How many policies to measure.")] = 15,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the policies.")] = 0,
    error: Error = "3%",
    limit: Limit = "5m",
    database: Tables = None,
    as_json: AsJson = False,
) -> None:
    """Compare the tables with random policies, measured end to end in pairs with the dense model.

    Tables that are missing are built. Measured is the ratio to the dense model, times what that
    took when the tables were fitted, so that a device that changed its pace since does not count.
    """
    with stdout_to_stderr():
        from autoprune import latency_api

        with _interruptible(file, database):
            given = _given(file, targets, error, limit, database)
            with naming_keys(file):
                found = latency_api.check_latency(**given, policies=policies, draw=seed)
    if not _as_json(found, as_json):
        from autoprune.reporting.latency_terminal import print_checked

        print_checked(found)


@latency.command("list")
def list_stored(database: Tables = None, as_json: AsJson = False) -> None:
    """List the devices and targets that something is stored of, and which is this device."""
    with stdout_to_stderr():
        from autoprune import latency_api

        found = latency_api.stored_latencies(here(database))
        _tell_missing(database)
    if not _as_json(found, as_json):
        from autoprune.reporting.latency_terminal import print_stored

        print_stored(found)


@latency.command()
def forget(
    target: Annotated[str, typer.Option(metavar="TARGET", help=TARGET_HELP)],
    database: Tables = None,
    as_json: AsJson = False,
) -> None:
    """Delete what is stored of this device and a target, so that it is measured anew."""
    with stdout_to_stderr():
        from autoprune import latency_api

        count = latency_api.forget_latency(target, database=here(database))
        _tell_missing(database)
    if as_json:
        echo(json.dumps({"target": target, "forgotten": count}, indent=2))
    else:
        echo(
            f"{count} latencies of layers and whole models, measured with {target} on this "
            "device, were deleted."
        )


def _given(
    file: Path, targets: list[str] | None, error: str, limit: str, database: str | None
) -> dict[str, Any]:
    """Return what the public functions take; options are read before anything is built."""
    from autoprune.agent.preparing.prepare import example_inputs
    from autoprune.core.numbers import parse_duration, parse_share
    from autoprune.core.target import Target
    from autoprune.cost.latency.runtimes import check_measurable
    from autoprune.execution.build import build_model, build_task
    from autoprune.execution.config import load_search_file

    options = {"error": parse_share(error, "--error"), "limit": parse_duration(limit, "--limit")}
    settings = load_search_file(file)
    place = named(database, settings)
    wanted = [Target.parse(one) for one in targets or ()] or _of_budget(settings)
    for target in wanted:
        check_measurable(target)
    model = build_model(settings)
    with naming_keys(settings.path):
        inputs = example_inputs(build_task(settings))
    return {
        **{"model": model, "inputs": inputs, "targets": wanted, **options},
        **{"space": settings.reference(settings.space), "seed": settings.seed},
        "database": place,
    }


@contextmanager
def _interruptible(file: Path, database: str | None) -> Iterator[None]:
    """Say on Ctrl-C what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        echo(f"autoprune: stopped. {_kept(file, database)}", err=True)
        raise typer.Exit(130) from None


def _kept(file: Path, database: str | None) -> str:
    from autoprune.execution.config import load_search_file
    from autoprune.storage.shared import missing_file

    if missing_file(named(database, load_search_file(file))):
        return "Nothing was measured yet."
    return (
        "What was measured is kept in the database that runs share; the same command, or a "
        "search, goes on from there."
    )


def _tell_missing(database: str | None) -> None:
    from autoprune.storage.shared import missing_file

    missing = missing_file(here(database))
    if missing is not None:
        echo(f"autoprune: there is no database {missing}; nothing is stored yet.", err=True)


def _of_budget(settings: "SearchFile") -> Sequence[Any]:
    targets = settings.budget.targets if settings.budget else ()
    if not targets:
        raise ConfigError(
            f"{settings.path}: the budget limits no latency, so it names no target. Give one with "
            "--target, for instance --target onnxruntime."
        )
    return targets


def _as_json(found: Sequence[Any], wanted: bool) -> bool:
    """Print what was found as JSON if that is wanted, and tell whether it was."""
    if wanted:
        echo(json.dumps([one.to_dict() for one in found], indent=2))
    return wanted
