"""``python -m benchmarks.scale``: how many workers one driver keeps busy, and at what cost."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.scale import asking, doubled, simulate
from benchmarks.scale.figures import DOUBLED, figures
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two notes
_PLACES = ("agent", "predictor", "storage", "core/workers.py", "execution/workers")


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    code = code_of(*(f"autoprune/{place}" for place in _PLACES), "benchmarks/scale")

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    many = {"trials": 1_500, "every": 250} if quick else {"trials": 10_000}
    yield task("sim", "sqlite", simulate.simulate, database="sqlite", **many)
    size = {"size": 1_000, "times": 9, "pending": 100} if quick else {}
    yield task("ask", "budgeted", asking.ask, **size)
    few = {"pairs": 1, "trials": 10} if quick else {"pairs": 5, "trials": 40}
    for kind in DOUBLED:
        yield task("doubled", kind, doubled.compare, runner=kind, **few)
    if not quick:
        yield task("sim", "postgresql", simulate.simulate, database="postgresql", trials=2_000)


main = command(
    "scale",
    "Measure how busy one driver keeps many workers, and what a second worker is worth.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
