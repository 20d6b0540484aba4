"""``autoprune search``: a thin client of `autoprune.api`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.database import Database, here
from autoprune.cli.errors import naming_keys
from autoprune.cli.resuming import how_to_resume
from autoprune.cli.search_settings import limits_of, seconds_of, settings_of
from autoprune.cli.stopping import Stop, stoppable
from autoprune.cli.streams import echo, stdout_to_stderr
from autoprune.core.numbers import MOST

if TYPE_CHECKING:
    from autoprune.agent.goals.front import FrontResult
    from autoprune.agent.results.result import SearchResult
    from autoprune.execution.config import SearchFile


class IfExists(StrEnum):
    """What to do if the output folder holds a run."""

    fail = "fail"
    resume = "resume"
    overwrite = "overwrite"


def search(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A search file (YAML).")],
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COST=LIMIT",
            help="Upper limit on macs, params, size, memory, sparse_macs, sparse_size, flops "
            "(flops = 2 x macs) or latency: macs=50%, size=10MB, latency=8ms@onnxruntime. Repeat "
            "it for more limits. Replaces the file's budget.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST,
            help="Evaluations of the search at most; where every measured model misses a limit on "
            "latency, up to 125% more, in rounds of 25% that aim lower.",
        ),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Ask for no new policy after 90s, 10m, 2h.")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="End after 90s, 10m, 6h, done or not: exit code 3, and the same command with "
            "--if-exists resume goes on.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Makes the run repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run and its result.")
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where policies are scored: a runner."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Policies scored at a time, or auto for as many as there is room for; the "
            "runner's own number if left out.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run on a database server; that of its folder if left out.",
        ),
    ] = None,
    database: Database = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What proposes policies: budgeted (default), spdy, tpe, cmaes, nsga2, random, or "
            "a single allocation: minimax, uniform.",
        ),
    ] = None,
    sensitivity: Annotated[
        bool | None,
        typer.Option(
            "--sensitivity/--no-sensitivity",
            help="Whether budgeted, spdy and minimax start from the sensitivity table.",
        ),
    ] = None,
    rollback: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of the trials, at most, in which budgeted scores an alternative to a "
            "decision of the best policy so far; see autoprune ledger.",
        ),
    ] = None,
    warm_start: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Folder of an earlier run on the same or a similar model, to learn from; repeat "
            "it for more.",
        ),
    ] = None,
    if_exists: Annotated[
        IfExists, typer.Option(help="What to do if DIR holds a run already.")
    ] = IfExists.fail,
    pareto: Annotated[
        str | None,
        typer.Option(
            metavar="COST[=LOW..HIGH]",
            help="Search several models along a front of quality against this cost in place of "
            "one: macs, macs=25%..75%, latency=20%..60%@onnxruntime. The other limits of the "
            "budget hold for all of them; a range wins over the budget's limit on its cost.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(min=2, max=MOST, help="Models along the front at most, 5 if left out."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Search the smallest model whose quality drops by so many points at most (100 x "
            "the task's metric; of a metric that is no share, so much of it; on the search split) "
            "in place of the best one within the budget, whose limits hold as well.",
        ),
    ] = None,
    minimise: Annotated[
        str | None,
        typer.Option(
            metavar="COST",
            help="What is to be low within --max-drop: macs (if left out), params, size, memory, "
            "sparse_macs, sparse_size, latency@onnxruntime.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress and no report, only the folder.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Tell of each evaluation that ends.")
    ] = False,
) -> None:
    """Search the best pruned model inside a budget and write it with its evidence.

    Options given here win over the same keys in FILE. The report goes to standard output,
    progress to standard error.
    """
    if quiet and verbose:
        raise typer.BadParameter("--quiet shows nothing, --verbose more than usual: give one.")
    given: dict[str, Any] = {"budget": budget, "trials": trials, "timeout": timeout}
    given |= {"seed": seed, "out": out, "database": here(database)}
    given |= {"runner": runner, "workers": workers, "name": name}
    given |= {"sampler": sampler, "sensitivity": sensitivity, "rollback": rollback}
    given |= {"warm_start": warm_start, "pareto": pareto, "points": points}
    given |= {"max_drop": max_drop, "minimise": minimise}
    with stdout_to_stderr():
        settings = settings_of(file, given)
        try:
            with stoppable(seconds_of(deadline, "--deadline")):
                found = _run(settings, if_exists, quiet=quiet, verbose=verbose)
        except (KeyboardInterrupt, Stop) as stop:
            echo(how_to_resume(settings, str(stop)), err=True)
            raise typer.Exit(130 if isinstance(stop, KeyboardInterrupt) else 3) from None
    _show(found, as_json, quiet)


def _run(
    settings: "SearchFile", if_exists: IfExists, *, quiet: bool, verbose: bool
) -> "SearchResult | FrontResult":
    from autoprune.execution.named import check_named

    check_named(settings)  # before PyTorch is imported, which takes its time
    from autoprune import api
    from autoprune.execution.build import build_model, build_task, constructor_of, load_recover
    from autoprune.reporting.progress import progress_for

    model, recover = build_model(settings), load_recover(settings)
    limits = limits_of(settings)
    key = next((name for name in ("pareto", "max_drop") if name in limits), "budget")
    with naming_keys(settings.path, key), progress_for(quiet=quiet, verbose=verbose) as progress:
        task = build_task(settings)
        found: SearchResult | FrontResult = api.search(
            model,
            task=task,
            **limits,
            space=settings.reference(settings.space),
            trials=settings.trials,
            timeout=settings.timeout,
            seed=settings.seed,
            out=settings.out,
            if_exists=if_exists.value,
            recovery=settings.recovery,
            recover=recover,
            constructor=constructor_of(settings),
            runner=settings.reference(settings.runner),
            workers=settings.workers,
            onnx=settings.onnx,
            database=settings.shared_database,
            name=settings.name,
            source=settings.path.absolute(),
            sampler=settings.sampler,
            sensitivity=settings.sensitivity,
            rollback=settings.rollback,
            warm_start=settings.warm_start,
            progress=progress,
        )
        return found


def _show(found: "SearchResult | FrontResult", as_json: bool, quiet: bool) -> None:
    from autoprune.agent.goals.front import FrontResult

    if as_json:
        written = found.front if isinstance(found, FrontResult) else found.result
        content = json.loads(written.to_json()) | {"folder": str(found.folder)}
        echo(json.dumps(content, indent=2))
    elif quiet:
        echo(str(found.folder))
    elif isinstance(found, FrontResult):
        from autoprune.reporting.front import print_front

        print_front(found.front, found.folder)
    else:
        from autoprune.reporting.terminal import print_report

        print_report(found.result, found.folder)
