"""The limits that a run was asked for: one for each cost, or several of the one that is traded."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from autoprune.core.budget import Budget
from autoprune.core.limit import Limit
from autoprune.core.pareto import Pareto, read_front_text
from autoprune.errors import AutopruneError
from autoprune.reporting.evidence import RunEvidence


def limits_asked(run: RunEvidence) -> dict[str, list[Limit]]:
    """Return the limits as asked, by cost; several along a front or on the way to a drop.

    Before its end these are not known, and the widest one stands for them.
    """
    budget = run.settings.get("budget") or {}
    found = {cost: [limit] for cost, limit in _parsed([budget])}
    several: dict[str, list[Limit]] = {}
    for cost, limit in _parsed(_of_one_cost(run)):
        several.setdefault(cost, []).append(limit)
    return found | {
        cost: sorted(set(limits), key=lambda one: one.amount) for cost, limits in several.items()
    }


def costs_limited(runs: Iterable[RunEvidence]) -> list[str]:
    """Return the costs that any of some runs limits, those in the front first; else ``macs``."""
    several = list(runs)
    fronts = [one.front.cost for one in several if one.front]
    found = dict.fromkeys([*fronts, *(cost for one in several for cost in limits_asked(one))])
    return list(found) or ["macs"]


def beside_front(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits of some settings, of a front those that hold beside its range."""
    limits = dict(settings.get("budget") or {})
    if settings.get("pareto"):
        front, _ = read_front_text(str(settings["pareto"]))
        limits.pop(Pareto.parse(front).cost, None)
    return limits


def _of_one_cost(run: RunEvidence) -> Iterator[str]:
    """Yield the limits on the cost that is traded for quality, as users write them."""
    if run.front is not None:
        yield from (one.limit for one in run.front.points)
        yield from (one.limit for one in run.front.left_out)
    if run.result is not None and run.result.goal is not None:
        yield from (one.limit for one in run.result.goal.limits)


def _parsed(given: Iterable[str | Mapping[str, str]]) -> Iterator[tuple[str, Limit]]:
    """Yield costs and limits; what a newer version wrote is left out."""
    for one in given:
        with suppress(AutopruneError):
            yield from Budget.parse(one).limits.items()
