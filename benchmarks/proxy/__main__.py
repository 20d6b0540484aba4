"""``python -m benchmarks.proxy``: cheap scores against quality after full recovery."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer

from autoprune.artifacts.files import write_text
from autoprune.core.recovery import Recovery
from benchmarks.command import command
from benchmarks.networks import NETWORKS
from benchmarks.provenance import code_of
from benchmarks.proxy import measure
from benchmarks.proxy.correlation import interval, scored, spearman
from benchmarks.work import Results, Task

LIMIT = 1800.0  # seconds of processor time of one stage; training a dense model is one
STEPS: tuple[int, ...] = (0, 20, 40, 80)
FULL = 300  # steps of batch 64
_PROJECTION = ("autoprune/agent/feasible/bounds.py", "autoprune/agent/feasible/projection.py")
OWN = ("benchmarks/proxy", "benchmarks/networks.py", "benchmarks/images.py")
KINDS = ("loss", "metric", "kl")
# source, seed, policies, how many of them are recovered twice
SOURCES = (
    *(("random", seed, 5, 1) for seed in range(2)),
    ("plain", 0, 8, 2),
    *(("searched", steps, 6, 2) for steps in (0, 20)),
)


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield every task of the benchmark."""
    code = code_of("autoprune/surgery", "autoprune/evaluation", *_PROJECTION)
    common: dict[str, Any] = {"limit": LIMIT, "code": code + code_of(*OWN)}
    names, budgets, steps, full = list(NETWORKS), ["25%", "50%"], STEPS, FULL
    if quick:
        names, budgets, steps, full = names[:1], budgets[1:], (0, 20), 10
    sources = (("random", 0, 3, 1), ("plain", 0, 3, 1)) if quick else SOURCES
    for name in names:
        yield Task(kind="dense", name=name, job=measure.train, arguments={"model": name}, **common)
    for source, seed, count, again in sources:  # all groups advance together
        for name in names:
            for macs in budgets:
                arguments = {"model": name, "macs": macs, "source": source, "seed": seed}
                arguments |= {"count": count, "again": again, "steps": steps, "full": full}
                title = f"{name}.{macs.removesuffix('%')}.{source}{seed}"
                yield Task(
                    kind="policies", name=title, job=measure.judge, arguments=arguments, **common
                )


Groups = dict[str, list[dict[str, Any]]]


def groups_of(results: Results) -> Groups:
    """Return the policies of each model and budget, each with its ``source``."""
    found: Groups = {}
    for title, facts in results.get("policies", {}).items():
        group, _, source = title.rpartition(".")
        rows = [
            {**one, "source": source.rstrip("0123456789")} for one in facts.get("policies", ())
        ]
        found.setdefault(group, []).extend(rows)
    return found


_PARTS = {"all": ("random", "plain", "searched"), "random": ("random",)}
_PARTS["searched"] = ("plain", "searched")


def table(groups: Groups) -> dict[str, Any]:
    """Return, by cheap score, its cost and its correlations by outcome, part and group."""
    known = [one for policies in groups.values() for one in policies]
    names = [f"{kind}@{steps}" for steps in STEPS for kind in KINDS]
    return {
        name: {
            "forwards": float(
                np.mean([one[f"forwards@{name.partition('@')[2]}"] for one in known])
            ),
            **{outcome: _by_part(groups, name, outcome) for outcome in ("quality", "loss")},
        }
        for name in names
        if known and name in known[0]
    }


def _by_part(groups: Groups, fidelity: str, outcome: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part, sources in _PARTS.items():
        chosen = {
            group: scored([one for one in policies if one["source"] in sources], fidelity, outcome)
            for group, policies in groups.items()
        }
        by_group = {group: spearman(*pair) for group, pair in chosen.items()}
        found[part] = {
            "mean": _mean(list(by_group.values())),
            "interval": interval(list(chosen.values())),
            "groups": by_group,
        }
    return found


def _mean(values: list[float | None]) -> float | None:
    """Return the mean; a score with a single rank tells nothing, which counts as 0."""
    return float(np.mean([value or 0.0 for value in values])) if values else None


def ceiling(groups: Groups) -> float | None:
    """Return how outcomes of two seeds correlate: no score can be expected to do better."""
    found = []
    for policies in groups.values():
        twice = [one for one in policies if "again" in one]
        pairs = [(one["outcome"]["quality"], one["again"]["quality"]) for one in twice]
        found.append(spearman(*zip(*pairs, strict=True)) if pairs else None)
    return _mean(found)


def default() -> str:
    """Return the score that searches use unless told otherwise, at the nearest steps measured."""
    recovery = Recovery()
    steps = min(STEPS, key=lambda one: abs(one - recovery.steps_of_scores))
    return f"{recovery.score_by or 'kl'}@{steps}"  # both networks classify


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured."""
    groups = groups_of(results)
    found, name = table(groups), default()
    own = found.get(name, {}).get("quality", {})
    means = {one: facts["quality"]["all"]["mean"] for one, facts in found.items()}
    return {
        "default": name,
        **{
            "spearman" + ("" if part == "all" else f"_{part}"): own.get(part, {}).get("mean")
            for part in _PARTS
        },
        "spearman_interval": own.get("all", {}).get("interval"),
        "best": max(means, key=lambda one: means[one] or 0.0, default=None),
        "best_spearman": max((mean or 0.0 for mean in means.values()), default=None),
        "recalibrated_metric": means.get("metric@0"),
        "ceiling": ceiling(groups),
        "policies": sum(map(len, groups.values())),
    }


def write(path: Path, results: Results, last: Mapping[str, Any]) -> None:
    """Write ``last`` (figures, machine, commit), the table and its facts; replaces the file."""
    content = {**last, "table": table(groups_of(results)), "results": results}
    write_text(path, json.dumps(content, indent=1) + "\n")


main = command(
    "proxy",
    "Correlate cheap scores of policies with their quality after full recovery.",
    tasks,
    figures,
    write,
)


if __name__ == "__main__":
    typer.run(main)
