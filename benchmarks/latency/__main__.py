"""``python -m benchmarks.latency``: tables against whole models, and budgets on latency."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.latency import accuracy, budget, prices
from benchmarks.latency.models import NAMES
from benchmarks.provenance import code_of
from benchmarks.work import Results, Task

LIMIT = 1800.0  # seconds of processor time of one stage
TARGETS = ("pytorch/threads=1", "onnxruntime/threads=1")
SHARE = 0.6
SEEDS = 5


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark."""
    code = code_of("autoprune/surgery", "autoprune/cost", "autoprune/agent", "benchmarks/latency")

    def task(kind: str, name: str, job: Any, **arguments: Any) -> Task:
        return Task(kind=kind, name=name, job=job, arguments=arguments, limit=LIMIT, code=code)

    size, names = (96, NAMES[:1]) if quick else (224, NAMES)
    yield task("price", "resnet50", prices.measure, repeats=3)
    for name in names:
        for target in TARGETS:
            arguments: Any = {"size": size, "target": target, "policies": 6 if quick else 15}
            title = f"{name}.{target.partition('/')[0]}"
            yield task("accuracy", title, accuracy.check, model=name, **arguments)
    yield from _budgets(task, size, names[:2], seeds=1 if quick else SEEDS)


def _budgets(task: Any, size: int, names: tuple[str, ...], seeds: int) -> Iterator[Task]:
    target = TARGETS[1]
    for name in names:
        for seed in range(seeds):
            common = {"model": name, "size": size, "target": target, "share": SHARE}
            common |= {"seed": seed, "trials": 6}
            asked = f"latency={SHARE:.0%}@{target}"
            yield task("latency", f"{name}.{seed}", budget.search, budget=asked, **common)
        # One is enough to compare: it knows nothing of latency.
        yield task("macs", name, budget.search, budget=f"macs={SHARE:.0%}", **common)


def figures(results: Results) -> dict[str, float | int | None]:
    """Return the benchmark's figures; None stands for what was not measured."""
    found = results.get("accuracy", {})
    met = [bool(facts.get("met")) for facts in results.get("latency", {}).values()]
    ratios = [facts["ratio"] for facts in results.get("macs", {}).values() if "ratio" in facts]
    by_target = {t: [f for n, f in found.items() if n.endswith(f".{t}")] for t in _NAMES}
    return {
        "mape_pytorch": _mean([facts.get("mape") for facts in by_target["pytorch"]]),
        "mape_onnxruntime": _mean([facts.get("mape") for facts in by_target["onnxruntime"]]),
        "spearman_min": min((f.get("spearman", -1.0) for f in found.values()), default=None),
        "budget_met_share": sum(met) / len(met) if met else None,
        "price_policies_per_s": results.get("price", {}).get("resnet50", {}).get("policies_per_s"),
        "table_build_s": found.get("resnet18.onnxruntime", {}).get("build_s"),
        "mape_worst": max((f.get("mape", 9.0) for f in found.values()), default=None),
        "macs_budget_latency_mean": _mean(ratios),
        "latency_budget_latency_mean": _mean(
            [f.get("ratio") for f in results.get("latency", {}).values()]
        ),
    }


_NAMES = ("pytorch", "onnxruntime")


def _mean(values: list[float | None]) -> float | None:
    """Return the mean; None if there is none or any is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


main = command(
    "latency",
    "Measure how well latency is priced, and whether budgets on it are met.",
    tasks,
    figures,
)


if __name__ == "__main__":
    typer.run(main)
