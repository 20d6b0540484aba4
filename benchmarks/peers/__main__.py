"""``python -m benchmarks.peers``: autoprune beside other tools, all else being equal."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.peers import contest
from benchmarks.peers.cells import KIND, name_of
from benchmarks.peers.figures import figures
from benchmarks.peers.limits import EVALUATIONS, LIMITS, SEEDS
from benchmarks.peers.rivals import RIVALS
from benchmarks.peers.subjects import SUBJECTS
from benchmarks.peers.written import write
from benchmarks.provenance import code_of
from benchmarks.work import Task

LIMIT = 6 * 3600.0  # seconds of processor time between two notes
QUICK = ("ours", "tp_global_l1", "tp_global_taylor", "uniform")
FIRST = ("25%", "50%")  # the limits that tell most
_LIBRARY = ("agent", "predictor", "evaluation", "surgery", "methods", "cost", "tasks", "space")
_HERE = (
    *("apart", "bisection", "contest", "counting", "protocol", "rivals", "subjects", "venvs"),
    *("fastnas", "fasterai", "searches", "tabs", "torch_pruning"),
)
CODE = (
    *(f"autoprune/{one}" for one in _LIBRARY),
    *(f"benchmarks/peers/{one}.py" for one in _HERE),
    *(
        "benchmarks/networks.py",
        "benchmarks/images.py",
        "benchmarks/tasks/mobilenet.py",
        "examples",
    ),
)


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    code, begun = code_of(*CODE), set[str]()
    for subject, limit, seed in [("resnet20", "25%", SEEDS[0])] if quick else _order():
        if subject not in begun:
            yield _task("dense", subject, contest.dense, code, subject=subject)
        begun.add(subject)
        for rival in QUICK if quick else RIVALS:
            one = LIMITS[limit]
            yield _task(
                KIND,
                name_of(subject, limit, rival, seed),
                contest.contest,
                code,
                subject=subject,
                rival=rival,
                macs=one.macs,
                latency=one.latency,
                seed=seed,
                evaluations=4 if quick else EVALUATIONS,
                steps=40 if quick else SUBJECTS[subject].steps,
            )


def _order() -> Iterator[tuple[str, str, int]]:
    """Yield model, limit and seed: two small models first, then seeds, then the rest."""
    subjects, limits = list(SUBJECTS), [*FIRST, *(one for one in LIMITS if one not in FIRST)]
    small, large = subjects[:2], subjects[2:]
    for seed in SEEDS:
        yield from ((subject, limit, seed) for subject in small for limit in FIRST)
    yield from ((subject, limit, SEEDS[0]) for subject in large for limit in FIRST)
    yield from ((subject, limit, SEEDS[0]) for subject in subjects for limit in limits[2:])
    for seed in SEEDS[1:]:
        yield from ((subject, limit, seed) for subject in large for limit in FIRST)
        yield from ((subject, limit, seed) for subject in subjects for limit in limits[2:])


def _task(kind: str, name: str, job: Any, code: str, **arguments: Any) -> Task:
    return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)


main = command(
    "peers",
    "Compare autoprune with other tools: same models, data, budgets, training and seeds.",
    tasks,
    figures,
    write,
    partly=True,
)


if __name__ == "__main__":
    typer.run(main)
