"""``python -m benchmarks.predictor``: what predictions are worth, and what they save."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.predictor import offline, searched
from benchmarks.predictor.figures import figures
from benchmarks.provenance import code_of
from benchmarks.search import live
from benchmarks.tables.recipes import RECIPES
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two notes
TABLES = tuple(RECIPES)
SOURCES = ("budgeted", "tpe", "random")
LIVE = ("resnet20", 0.5, 80)  # network, share of MACs, evaluations
FIRST = 0  # seeds from 100 on were for development


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    code = code_of("autoprune/agent", "autoprune/predictor", "autoprune/evaluation", "benchmarks")

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    seeds: dict[str, Any] = {"first": FIRST, "seeds": 3 if quick else 20}
    for table in TABLES[1:2] if quick else TABLES:
        trials = 40 if quick else 60
        yield task("table", table, searched.compare, table=table, trials=trials, **seeds)
        for source in SOURCES[:1] if quick else SOURCES:
            given: dict[str, Any] = {"table": table, "sampler": source, **seeds}
            yield task("rest", f"{table}.{source}", offline.judge, **given)
    if quick:
        return
    model, share, trials = LIVE
    yield task("dense", model, live.prepare, model=model)
    for seed in range(FIRST, FIRST + 2):
        for sampler in (searched.WITH, searched.WITHOUT):
            given = {"model": model, "share": share, "seed": seed, "trials": trials}
            name = f"{model}.{share:.0%}.{sampler}.{seed}"
            yield task("live", name, live.search, sampler=sampler, **given)


main = command(
    "predictor",
    "Measure how well scores of policies are predicted, and how many evaluations that saves.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
