"""``python -m benchmarks.rollback``: what taking harmful decisions back is worth."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.rollback import planted, progressive, restoring, tabled
from benchmarks.rollback.figures import figures
from benchmarks.search import live
from benchmarks.tables.recipes import RECIPES
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two notes
TABLES = tuple(RECIPES)
DIGITS = [name for name in TABLES if name.startswith("digits")]
PROGRESSIVE = {"model": "resnet20", "macs": "25%", "steps": 600}
FAULTS = (20, 200)  # steps that go wrong: while it is cut, and later
TRIALS, LIVE = 30, ("resnet20", 0.25, 40)  # evaluations; network, share of MACs, evaluations
FIRST = 0  # seeds from 100 on were for development


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    code = code_of("autoprune/agent", "autoprune/predictor", "autoprune/evaluation", "benchmarks")

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    for table in TABLES[1:2] if quick else TABLES:
        given: dict[str, Any] = {"table": table, "first": FIRST, "trials": 20 if quick else TRIALS}
        yield task("table", table, tabled.compare, seeds=3 if quick else 20, **given)
    for table in DIGITS[1:2] if quick else DIGITS:
        for count in (1,) if quick else (1, 2):
            given = {"table": table, "planted": count, "first": FIRST}
            given |= {"seeds": 2 if quick else 20, "trials": 30}
            yield task("planted", f"{table}.{count}", planted.examine, **given)
    given = {"table": DIGITS[1], "first": FIRST, "sequences": 100 if quick else 1_000}
    yield task("restore", DIGITS[1], restoring.restore, **given)
    for seed in range(FIRST, FIRST + (1 if quick else 3)):
        given = {**PROGRESSIVE, "seed": seed} | ({"steps": 60} if quick else {})
        yield task("progressive", f"resnet20.25.{seed}", progressive.compare, **given)
        for at in () if quick else FAULTS:
            name = f"resnet20.25.{seed}.{at}"
            yield task("fault", name, progressive.disturb, **given, at=at)
    if quick:
        return
    model, share, trials = LIVE
    yield task("dense", model, live.prepare, model=model)
    for seed in range(FIRST, FIRST + 5):
        for arm in tabled.ARMS:
            given = {"model": model, "share": share, "seed": seed, "trials": trials}
            name = f"{model}.{share:.0%}.{arm}.{seed}"
            yield task("live", name, live.search, sampler=arm, **given)


main = command(
    "rollback",
    "Measure what examining decisions gains, and whether planted harm is found.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
