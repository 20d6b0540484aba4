"""``python -m benchmarks.peers``: autoprune beside other tools, all else being equal."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.peers import contest
from benchmarks.peers.figures import figures
from benchmarks.peers.limits import EVALUATIONS, LIMITS, OWN_EVALUATIONS, SEEDS
from benchmarks.peers.planned import KIND, Run, name_of, planned
from benchmarks.peers.rivals import OWN
from benchmarks.peers.subjects import QUICK, SUBJECTS
from benchmarks.peers.written import write
from benchmarks.provenance import code_of
from benchmarks.work import Task

LIMIT = 6 * 3600.0  # seconds of processor time between two notes
QUICK_RIVALS = ("ours", "tp_global_l1", "tp_global_taylor", "uniform")
QUICK_EVALUATIONS = 8
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
        "benchmarks/search/ablated.py",
        "benchmarks/images.py",
        "benchmarks/tasks/mobilenet.py",
        "examples",
    ),
)


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    code, begun = code_of(*CODE), set[str]()
    for subject, limit, rival, seed in _quick() if quick else planned():
        if subject not in begun:
            yield _task("dense", subject, contest.dense, code, subject=subject)
        begun.add(subject)
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
            evaluations=_evaluations(rival, quick),
            steps=SUBJECTS[subject].steps,
        )


def _evaluations(rival: str, quick: bool) -> int:
    if quick:
        return QUICK_EVALUATIONS
    return OWN_EVALUATIONS if rival in OWN else EVALUATIONS


def _quick() -> Iterator[Run]:
    return ((QUICK, "25%", rival, SEEDS[0]) for rival in QUICK_RIVALS)


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
