"""The models that a run returned, and the dense one, along a cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import plotly.graph_objects as go

from autoprune.artifacts.result import Measured
from autoprune.core.costs import LATENCY
from autoprune.reporting.cost_names import cost_name
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.cost_axis import MEASURED, CostAxis
from autoprune.reporting.figures.look import GREY, dots, lines
from autoprune.reporting.text import amount_text


@dataclass(frozen=True)
class Model:
    """A model that was returned.

    Args:
        name: What it is, for instance its limit.
        measured: Its figures.
        shares: Costs as shares of the dense model's, where these were measured in pairs.
    """

    name: str
    measured: Measured
    shares: Mapping[str, float] = field(default_factory=dict)


def models_of(run: RunEvidence) -> list[Model]:
    """Return what a run returned: one model, or those of a front, the smallest first."""
    if run.front is not None:
        cost = run.front.cost
        return [Model(one.limit, one.pruned, {cost: one.share}) for one in run.front.points]
    if run.result is None:
        return []
    shares = {f"{LATENCY}{on}": one.ratio for on, one in run.result.checks.latency.items()}
    return [Model("pruned, fine-tuned", run.result.pruned, shares)]


def returned(run: RunEvidence, axis: CostAxis, colour: str, alone: bool) -> Iterator[go.Scatter]:
    """Yield the models that were returned, a line through those of a front, and the dense one."""
    if run.told is None:
        return
    dense = run.told.dense
    models = models_of(run)
    trace = dots(
        [axis.returned(dense, one.measured, one.shares.get(axis.cost)) for one in models],
        [run.yardstick.shown(one.measured.quality_search) for one in models],
        [_text(run, one, axis.cost) for one in models],
        "returned, fine-tuned" if alone else run.name,
        (colour, "diamond"),
    )
    line = {"shape": "hv", "dash": "dot", "color": colour}
    trace.update(mode="lines+markers", line=line, marker={"size": 13})
    yield trace
    own = dots(
        [axis.returned(dense, dense)],
        [run.yardstick.shown(dense.quality_search)],
        [_text(run, Model("dense", dense), axis.cost)],
        "dense",
        (GREY if alone else colour, "square"),
    )
    yield own.update(showlegend=alone)


def _text(run: RunEvidence, model: Model, cost: str) -> str:
    own, text = model.measured, run.yardstick.text
    amount = own.costs.as_dict().get(cost)
    measured = f" {MEASURED}" if cost.startswith(LATENCY) else ""
    return lines(
        f"{run.name}: {model.name}",
        f"{run.metric} {text(own.quality_search)} on the search split",
        f"{text(own.quality_test)} on the test split",
        "" if amount is None else f"{cost_name(cost)}: {amount_text(cost, amount)}{measured}",
    )
