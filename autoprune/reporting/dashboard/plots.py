"""Figures of a run on the page of its study, and its report so far."""

import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from plotly.graph_objects import Figure

from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.dashboard.looked_at import LookedAt
from autoprune.reporting.dashboard.trials import Shown
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.front import front_figure
from autoprune.reporting.figures.history import history_figure
from autoprune.reporting.figures.latency import latency_figure
from autoprune.reporting.figures.policy import policy_figure
from autoprune.reporting.figures.predictions import calibration_figure, reliability_figure
from autoprune.reporting.figures.rollback import rollback_figure
from autoprune.reporting.figures.spending import spending_figure
from autoprune.reporting.gather import gather
from autoprune.reporting.units import unit_facts

_HEIGHT = 440  # pixels

Known = tuple[object, ...]  # what figures depend on


@dataclass
class Plots:
    """Makes the figures of runs, anew where there is something new to show.

    Args:
        made: The last ones of each study, and what was known then.
    """

    made: dict[int, tuple[Known, Mapping[str, Figure]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, study_id: int, shown: Shown) -> Mapping[str, Figure]:
        """Return the figures of a study by name; none of one that is of no run."""
        listed, known = shown.facts.listed, _known(shown)
        if listed is None or not shown.trials:
            return {}
        with self._lock:
            before, found = self.made.get(study_id, ((), {}))
            if before != known:
                figures = _figures(gather(listed))
                found = {name: _fitted(figure) for name, figure in figures}
                self.made[study_id] = (known, found)
            return found


def report_of(listed: LookedAt) -> BinaryIO:
    """Return the HTML report of a run as far as it is."""
    from autoprune.reporting.html import render_html  # who only looks needs no torch

    return io.BytesIO(render_html([gather(listed)]).encode())


def _fitted(figure: Figure) -> Figure:
    """Return a figure as it fits into a place of the dashboard: its legend has the foot."""
    figure.update_layout(
        height=_HEIGHT,
        title={"x": 0.02, "xanchor": "left", "y": 0.98, "yanchor": "top", "yref": "container"},
        margin={"l": 8, "r": 16, "t": 40, "b": 8},
        legend={"y": 0.0, "yref": "container", "yanchor": "bottom"},
    )
    return figure


def _known(shown: Shown) -> Known:
    ended = sum(one.state.is_finished() for one in shown.trials)
    facts = shown.facts
    lowered = str(facts.limits.now), str(facts.limits.measured)
    told = facts.result is not None or facts.front is not None
    return (ended, len(facts.finalists), len(facts.ledger), told, *lowered)


def _figures(run: RunEvidence) -> Iterator[tuple[str, Figure]]:
    """Yield what there is to show of a run, and what it is called: letters, digits, hyphens."""
    if run.trials:
        for number, cost in enumerate(costs_limited([run])):
            yield f"front-{number}", front_figure([run], cost)
        yield "history", history_figure(run)
    results = {"": run.result} if run.result else dict(run.points)
    for number, (name, result) in enumerate(results.items()):
        units = unit_facts(result, run.sensed, run.ledger)
        yield f"policy-{number}", policy_figure(units, f"Policy by unit {name}".strip())
    if any(one.prediction for one in run.trials):
        yield "calibration", calibration_figure(run.trials, "Predicted and measured scores")
    if any((one.record or {}).get("count") for one in run.trials):
        yield "reliability", reliability_figure(run.trials, "Predictor as the search went on")
    if run.ledger:
        yield "rollback", rollback_figure(run.ledger, "Rollback: regret of decisions")
    checks = run.result.checks.latency if run.result else {}
    if any(one.target in checks for one in run.latency):
        yield "latency", latency_figure(run.latency, checks)
    yield "spent", spending_figure(run.spent)
