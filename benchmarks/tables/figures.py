"""What a table is like, and whether it tells samplers apart."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from autoprune.agent.feasible.encoding import levels_of
from autoprune.agent.samplers.anchors import anchors
from autoprune.core.policy import Policy
from benchmarks.tables.objective import TableObjective

DRAWS = 20
PROPOSALS = 40
CLOSE = 0.2  # points


def figures(objective: TableObjective) -> dict[str, Any]:
    """Return size, spread, noise and cost of a table, whole or not; qualities in points."""
    table, best = objective.table, objective.truth[objective.row(objective.optimum())]
    points = 100 * table.quality[:, 0]
    return {
        "policies": len(points),
        "dense_points": [round(100 * q, 2) for q in table.facts["dense"]["quality"]],
        "optimum_points": round(100 * float(best), 2),
        "policies_close": int(np.sum(100 * (best - objective.truth) <= CLOSE)),
        "quartiles_points": _quartiles(points),
        "spread_points": round(float(points.std()), 2),
        "noise_points": round(objective.noise, 2),
        "forwards_median": round(float(np.median(table.forwards))),
        "seconds": table.facts["seconds"],
    }


def gaps(objective: TableObjective) -> dict[str, Any]:
    """Return how far below the best plain searches of a whole table end, in points.

    A search at random takes the best of `PROPOSALS` by loss or by quality, which is then compared
    with the optimum or, ``seen``, with the best quality that the first seed found. The floor is
    where a search ends that saw every policy.
    """
    drawn = [_at_random(objective, np.random.default_rng(seed)) for seed in range(DRAWS)]
    found: dict[str, Any] = {
        "uniform_gap_points": [round(objective.gap_points(one), 2) for one in _uniform(objective)]
    }
    for by in ("loss", "quality"):
        for seen in (False, True):
            of = f"gap_points_by_{by}{'_seen' if seen else ''}"
            chosen = [_best(objective, policies, by) for policies in (objective.policies, *drawn)]
            floor, *ends = (objective.gap_points(policy, seen=seen) for policy in chosen)
            found |= {f"floor_{of}": round(floor, 2), f"random_{of}": _quartiles(ends)}
    return found


def _quartiles(values: Any) -> list[float]:
    return [round(float(value), 2) for value in np.percentile(values, (25, 50, 75))]


def _uniform(objective: TableObjective) -> list[Policy]:
    """Return the first anchors of a search: one sparsity for all units, by method."""
    spaces = objective.spaces
    found = []
    for params in anchors(objective.network.plan, spaces)[: len(objective.table.facts["methods"])]:
        levels = objective.projection.project(levels_of(params, spaces))
        methods = {unit: params.get(f"method:{unit}", s.methods[0]) for unit, s in spaces.items()}
        found.append(objective.policy(levels, methods))
    return found


def _at_random(objective: TableObjective, rng: np.random.Generator) -> list[Policy]:
    """Return distinct policies projected from levels and methods drawn at random."""
    found: dict[Policy, None] = {}
    while len(found) < PROPOSALS:
        spaces = objective.spaces.items()
        wanted = {unit: int(rng.integers(space.levels)) for unit, space in spaces}
        methods = {unit: str(rng.choice(space.methods)) for unit, space in spaces}
        found[objective.policy(objective.projection.project(wanted), methods)] = None
    return list(found)


def _best(objective: TableObjective, policies: Iterable[Policy], by: str) -> Policy:
    """Return the best of ``policies`` by what the first seed found."""
    column, sign = {"loss": (0, 1), "quality": (1, -1)}[by]
    return min(policies, key=lambda one: sign * objective.score(one)[column])
