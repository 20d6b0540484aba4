"""``python -m benchmarks.tasks``: half the multiply-adds of models of four tasks."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.tasks import searching
from benchmarks.tasks.figures import figures
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two notes
SEEDS = 3
QUICK: dict[str, Any] = {"trials": 6}


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    ours = ("autoprune/agent", "autoprune/predictor", "autoprune/evaluation", "autoprune/tasks")
    files = map(str, searching.FILES.values())
    code = code_of(*ours, "benchmarks/tasks", "examples", *files)

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    names = ("contrastive",) if quick else tuple(searching.FILES)
    for name in names:
        yield task("dense", name, searching.prepare, example=name)
    for seed in range(1 if quick else SEEDS):
        for name in names:
            for sampler in ("budgeted", "uniform"):
                given = {"example": name, "sampler": sampler, "seed": seed}
                more = QUICK if quick and sampler == "budgeted" else {}
                yield task("search", f"{name}.{sampler}.{seed}", searching.search, **given, **more)
    for name in ("lraspp",) if quick else ("lraspp", "ssdlite"):
        yield task("export", name, searching.export, example=name)


main = command(
    "tasks",
    "Measure what halving the multiply-adds costs in detection, segmentation and more.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
