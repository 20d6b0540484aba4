"""``python -m benchmarks.search``: samplers against each other, on tables and on networks."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.search import live, overhead, tabled, warm
from benchmarks.search.figures import figures
from benchmarks.search.parts import ABLATED, ON_NETWORKS, ON_TABLES, SEED
from benchmarks.tables.recipes import RECIPES
from benchmarks.work import Task

LIMIT = 3600.0  # seconds of processor time between two evaluations
TABLES = tuple(RECIPES)
SAMPLERS = ("budgeted", "tpe", "cmaes", "nsga2", "random", "spdy", "minimax", "uniform")
_PLAIN = ("none", "same", "negated", "shuffled")
EARLIER = {table: (*_PLAIN, "other_budget") for table in TABLES[:2]} | {TABLES[2]: _PLAIN}
SETTINGS = tuple((m, s) for m in ("resnet20", "mobilenet_v2") for s in (0.5, 0.25))
TRIALS = {"tpe": 400, "budgeted": 100}
_LIVE = ("search/live.py", "search/judged.py", "networks.py", "images.py", "group.py")
LIVE = tuple(f"benchmarks/{one}" for one in _LIVE)
FIRST = 0  # seeds from 100 on were for development


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark, those that tell most first."""
    ours = code_of("autoprune/agent", "autoprune/predictor", "autoprune/evaluation", "benchmarks")
    scoring = code_of("autoprune/evaluation", "autoprune/surgery", *LIVE)

    def task(kind: str, name: str, job: Any, code: str = ours, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    for table in TABLES[1:2] if quick else TABLES:
        for sampler in ("budgeted", "tpe") if quick else SAMPLERS:
            many: dict[str, Any] = {"seeds": 3 if quick else 20, "trials": 40 if quick else 100}
            given: dict[str, Any] = {"table": table, "sampler": sampler, "first": FIRST, **many}
            yield task("table", f"{table}.{sampler}", tabled.search, **given)
    for table in () if quick else TABLES:
        for part in ON_TABLES:
            sampler = "budgeted" if part == "no_sensitivity" else part
            given = {
                "table": table,
                "sampler": sampler,
                "first": FIRST,
                "seeds": 20,
                "trials": 100,
            }
            given |= {"sensitivity": part != "no_sensitivity"}
            yield task("without", f"{table}.{part}", tabled.search, **given)
    for table in TABLES[1:2] if quick else TABLES:
        for earlier in ("none", "negated") if quick else EARLIER[table]:
            many = {"seeds": 3 if quick else 20, "trials": 40}
            given = {"table": table, "earlier": earlier, "first": FIRST, **many}
            yield task("warm", f"{table}.{earlier}", warm.search, **given)
    sizes = overhead.SIZES[:2] if quick else overhead.SIZES
    storing = code_of("autoprune/agent", "autoprune/predictor", "autoprune/storage", "benchmarks")
    yield task("overhead", "budgeted", overhead.measure, storing, sizes=sizes)
    if quick:
        return
    for model in dict.fromkeys(model for model, _ in SETTINGS):
        yield task("dense", model, live.prepare, scoring, model=model)
    for seed in range(FIRST, FIRST + 3):
        for model, share in SETTINGS:
            common: dict[str, Any] = {"model": model, "share": share, "seed": seed}
            for sampler, trials in TRIALS.items():
                name = f"{model}.{share:.0%}.{sampler}.{seed}"
                given = {**common, "sampler": sampler, "trials": trials}
                if sampler == "tpe":  # as it is without what is ours
                    given["stages"] = False
                code = scoring if sampler == "tpe" else ours
                yield task("live", name, live.search, code, **given)
    for model, share in SETTINGS[:1]:  # what is left of TPE's cost if it scores as we do
        given = {"model": model, "share": share, "seed": FIRST, "trials": TRIALS["tpe"]}
        given |= {"sampler": "tpe", "reconstruct": True}
        name = f"{model}.{share:.0%}.tpe.{FIRST}"
        yield task("scored", name, live.search, scoring, **given)
    for name, options in ON_NETWORKS.items():
        for model, share in SETTINGS[::3]:
            given = {"model": model, "share": share, "seed": SEED, "trials": ABLATED, **options}
            yield task("ablation", f"{model}.{share:.0%}.{name}", live.search, **given)


main = command(
    "search",
    "Measure what samplers need, in evaluations on tables and in compute on networks.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
