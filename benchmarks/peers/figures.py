"""What the results come to: who is best under each limit, and what a search costs."""

from collections.abc import Collection, Iterable, Mapping
from statistics import mean, median
from typing import Any

from benchmarks.peers.cells import Cell, Place, cells, sections
from benchmarks.peers.limits import LIMITS
from benchmarks.peers.rivals import OURS, PARTS, RIVALS, TAUGHT
from benchmarks.work import Results

Table = Mapping[Place, Cell]
OTHERS = tuple(rival for rival in RIVALS if rival != OURS)
TOOLS = tuple(name for name, one in RIVALS.items() if one.tool is not None)


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    Of each model and limit ``ours`` and ``best_rival``, the mean quality on the test split over
    the seeds that are done, ``best_rival_name``, and ``gain_points``: what ours has more, over
    the seeds that both have, None where ours missed the limit. Who missed it is not the best.
    ``cost_ratio_fastnas``: sample forwards of our search by those of FastNAS's, the median over
    models and limits on MACs.
    ``points_without``: how many points ours has more than ours without a part, by what is left
    out, over the seeds that both have.
    ``points_by_distillation``: how many more it has where it learns from the dense model.
    ``latency_budget_met_ours``, ``_rivals``: the share of models, of models and other tools, in
    which all seeds met the limit on latency; Optuna's samplers meet it by our projection.
    """
    table = cells(results)
    found: dict[str, Any] = {}
    for subject, limit in sections(table):
        compared = _compared(table, subject, limit)
        found |= {f"{subject}.{limit}.{name}": value for name, value in compared.items()}
    return found | {
        "points_without": _without(table),
        "points_by_distillation": _by_distillation(table),
        "cost_ratio_fastnas": _cost_ratio(table),
        "latency_budget_met_ours": _met_share(table, [OURS]),
        "latency_budget_met_rivals": _met_share(table, TOOLS),
    }


def best(table: Table, subject: str, limit: str, rivals: Iterable[str]) -> str | None:
    """Return who has the highest mean quality of ``rivals`` that met the limit."""
    known = {rival: table.get((subject, limit, rival)) for rival in rivals}
    found = {r: cell.mean("quality") or 0.0 for r, cell in known.items() if cell and cell.met}
    return max(found, key=lambda one: found[one]) if found else None


def _compared(table: Table, subject: str, limit: str) -> dict[str, Any]:
    ours, name = table[subject, limit, OURS], best(table, subject, limit, OTHERS)
    other = None if name is None else table[subject, limit, name]
    return {
        "ours": ours.mean("quality"),
        "best_rival": other and other.mean("quality"),
        "best_rival_name": name,
        "gain_points": other and ours.gain(other) if ours.met else None,
        "seeds": len(ours.runs),
    }


def _cost_ratio(table: Table) -> float | None:
    ratios = []
    for subject, limit in sections(table):
        both = (table.get((subject, limit, who)) for who in (OURS, "fastnas"))
        ours, theirs = (None if cell is None else cell.mean("forwards") for cell in both)
        if LIMITS[limit].latency is None and ours is not None and theirs:
            ratios.append(ours / theirs)
    return median(ratios) if ratios else None


def _without(table: Table) -> dict[str, dict[str, float]]:
    """Return by model and limit what ours has more of quality than ours without a part."""
    found: dict[str, dict[str, float]] = {}
    for (subject, limit, rival), cell in table.items():
        gain = table[subject, limit, OURS].gain(cell) if rival in PARTS else None
        if gain is not None:
            found.setdefault(f"{subject}.{limit}", {})[rival] = gain
    return found


def _by_distillation(table: Table) -> dict[str, float]:
    taught = {place[:2]: cell for place, cell in table.items() if place[2] == TAUGHT}
    gains = {place: cell.gain(table[(*place, OURS)]) for place, cell in taught.items()}
    return {".".join(place): gain for place, gain in gains.items() if gain is not None}


def _met_share(table: Table, rivals: Collection[str]) -> float | None:
    limits = [name for name, one in LIMITS.items() if one.latency is not None]
    found = [cell.met for (_, limit, r), cell in table.items() if limit in limits and r in rivals]
    known = [one for one in found if one is not None]
    return mean(known) if known else None
