"""``python -m benchmarks.soak``: two hours of searching under faults."""

from collections.abc import Iterator

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.soak.figures import figures
from benchmarks.soak.run import soak
from benchmarks.work import Task

MINUTES, PAUSE = 120.0, 45.0
_QUICK = {"minutes": 2.0, "pause": 12.0}
LIMIT = 12 * 3600.0  # seconds of processor time; its searches get the same limit


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield the one task of the benchmark."""
    given = {"minutes": MINUTES, "pause": PAUSE, "seed": 0} | (_QUICK if quick else {})
    code = code_of("autoprune", "benchmarks/faults", "benchmarks/soak")
    yield Task(kind="soak", name="run", job=soak, arguments=given, limit=LIMIT, code=code)


main = command(
    "soak",
    "Measure what hours of searching under faults leave behind: memory, files, connections.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
