"""What the page says of several runs together."""

from collections.abc import Iterator, Sequence

from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.front import front_figure, front_title
from autoprune.reporting.figures.history import compared_history
from autoprune.reporting.page.parts import Chart
from autoprune.reporting.page.searched import of_latency


def compared_charts(runs: Sequence[RunEvidence]) -> list[Chart]:
    """Return figures that hold all runs; of quality those with the first one's metric."""
    return [*_fronts(runs), *_histories(runs)]


def _fronts(runs: Sequence[RunEvidence]) -> Iterator[Chart]:
    """Yield quality against each cost that one of the runs limits."""
    metric = next((one.metric for one in runs if one.told is not None), "")
    alike = [one for one in runs if one.told is not None and one.metric == metric]
    for number, cost in enumerate(costs_limited(alike) if alike else ()):
        shown = [one for one in alike if one.told and cost in one.told.dense.costs.as_dict()]
        if not shown:
            continue
        left_out = ", ".join(one.name for one in runs if one not in shown)
        note = "Dashed lines are limits, solid ones go through the best evaluations of each run."
        note += of_latency(cost)
        if left_out:
            note += f" Not in it, without a result, this cost or this metric: {left_out}."
        title = front_title(shown[0], cost)
        yield Chart(f"all-front-{number}", title, front_figure(shown, cost), note)


def _histories(runs: Sequence[RunEvidence]) -> Iterator[Chart]:
    """Yield how scores fell, of the runs that have one budget."""
    shown = [one for one in runs if one.one_for_all]
    if not shown:
        return
    note = "Scores compare only where model, data and the way of scoring are the same."
    left_out = ", ".join(one.name for one in runs if one not in shown)
    if left_out:
        note += f" Not in it, for its scores are of several limits: {left_out}."
    yield Chart("all-history", "Best score by evaluation", compared_history(shown), note)
