"""``python -m benchmarks.faults``: what searches lose to faults."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.faults import disturbed, killed, rayed
from benchmarks.faults.figures import figures
from benchmarks.provenance import code_of
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two notes
KILLS = 5  # in each task
DRIVERS, WORKERS, AGENTS = 5, 3, 2  # tasks


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, one of each kind first."""
    code = code_of("autoprune", "benchmarks/faults")

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    short = {"trials": 8} if quick else {}
    alone = {**short, "compare": False} if quick else {}
    for seed in range(1 if quick else max(DRIVERS, WORKERS, AGENTS)):
        given = {"seed": seed, "kills": 1 if quick else KILLS, **short}
        if seed < DRIVERS:
            yield task("driver", str(seed), killed.drivers, **given)
        if seed < WORKERS:
            yield task("worker", str(seed), killed.crews, **given)
        if seed < AGENTS:
            name, apart = (("near", False), ("apart", True))[seed % 2]
            yield task("agent", f"{seed}.{name}", killed.agents, **given, apart=apart)
        if seed == 0:
            yield task("server", "20s", disturbed.servers, seed=0, **alone)
            yield task("disk", "run", disturbed.disks, seed=0, shared=False, **alone)
            yield task("clock", "driver", disturbed.clocks, seed=0, **alone)
            given = {"seed": 0, "times": 1 if quick else 5, **short}
            yield task("twice", "folder", disturbed.pairs, **given, server=False)
    if not quick:
        yield task("twice", "server", disturbed.pairs, seed=0, times=5, server=True)
        yield task("disk", "all", disturbed.disks, seed=1, shared=True)
        yield task("clock", "agent", disturbed.clocks_apart, seed=0)
        yield task("server", "gone", disturbed.servers, seed=1, away=None)
    yield task("ray", "head", rayed.heads, seed=0, **short)


main = command(
    "faults",
    "Measure what searches lose to killed processes, servers away, full disks and clock jumps.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
