"""``autoprune profile``: a thin client of `autoprune.profile_api`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoprune.cli.database import Tables, named
from autoprune.cli.errors import naming_keys
from autoprune.cli.model_options import AsJson
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.errors import OutputError

if TYPE_CHECKING:
    from autoprune.evaluation.probing.sensitivity import Sensitivity
    from autoprune.execution.config import SearchFile

TABLE, PLOT = "sensitivity.json", "sensitivity.html"


class Levels(StrEnum):
    """Which levels are probed."""

    quick = "quick"
    full = "full"


def profile(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A search file (YAML).")],
    samples: Annotated[
        int, typer.Option(min=1, help="Samples of the search split that are measured at most.")
    ] = 128,
    levels: Annotated[
        Levels,
        typer.Option(
            help="full: every method at every level. quick: every method at the middle level, "
            "the best one at a few more."
        ),
    ] = Levels.quick,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that probe; if left out, one for each core."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=f"Folder for {TABLE} and {PLOT}; if left out, CONFIG's 'out' with "
            "'-sensitivity' added.",
        ),
    ] = None,
    database: Tables = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each unit of a model gives up when it alone is cut, and plot it.

    Norms are recalibrated, nothing is trained. What was measured is kept in the database that
    runs share: neither this command nor a search measures it again.
    """
    with stdout_to_stderr():
        from autoprune.execution.config import load_search_file

        settings = load_search_file(file)
        place = out or Path(f"{settings.out}-sensitivity")
        _check_writable(place)
        try:
            found = _profile(settings, samples, levels, workers, database)
        except KeyboardInterrupt:
            echo(
                "autoprune: stopped. Probes that were made are kept; the same command goes on.",
                err=True,
            )
            raise typer.Exit(130) from None
        _write(found, place)
    if as_json:
        echo(json.dumps(found.to_dict() | {"folder": str(place)}, indent=2))
        return
    from autoprune.reporting.sensitivity_terminal import print_sensitivity

    print_sensitivity(found)
    echo(f"Table and plot in {place}")


def _profile(
    settings: "SearchFile",
    samples: int,
    levels: Levels,
    workers: int | None,
    database: str | None,
) -> "Sensitivity":
    from autoprune import profile_api
    from autoprune.execution.build import build_model, build_task
    from autoprune.reporting.progress import progress_for

    place = named(database, settings)  # before anything is built
    model = build_model(settings)
    with naming_keys(settings.path), progress_for() as progress:
        return profile_api.profile(
            model,
            task=build_task(settings),
            space=settings.reference(settings.space),
            samples=samples,
            levels=levels.value,
            workers=workers,
            seed=settings.seed,
            recovery=settings.recovery,
            runner=settings.reference(settings.runner),
            database=place,
            progress=progress,
        )


def _check_writable(folder: Path) -> None:
    """Make the folder before anything that takes long.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(
            f"The output folder {folder} cannot be written: {err.strerror}. "
            "Choose another with --out."
        ) from err


def _write(found: "Sensitivity", folder: Path) -> None:
    from autoprune.artifacts.files import write_text
    from autoprune.reporting.sensitivity_plot import render_sensitivity

    write_text(folder / TABLE, json.dumps({"schema": 1} | found.to_dict(), indent=2) + "\n")
    write_text(folder / PLOT, render_sensitivity(found))
