"""What the page says of several runs together."""

from collections.abc import Sequence

from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.front import front_figure
from autoprune.reporting.figures.history import compared_history
from autoprune.reporting.page.parts import Chart, Table
from autoprune.reporting.text import share_text


def compared_table(runs: Sequence[RunEvidence]) -> Table:
    """Return the headline figures of several runs, a row for each."""
    names = (
        "evaluations",
        "metric",
        "dense",
        "pruned",
        "change",
        "MACs of dense",
        "params of dense",
    )
    return Table(("run", "state", *names), [_row(one) for one in runs], names)


def _row(run: RunEvidence) -> tuple[str, ...]:
    count = str(run.told.search.evaluations if run.told else len(run.trials))
    if run.result is None:
        state = f"{run.state}, a front" if run.front else run.state
        return (run.name, state, count, run.metric if run.told else "", "", "", "", "", "")
    dense, pruned, yardstick = run.result.dense, run.result.pruned, run.result.yardstick
    return (
        run.name,
        run.state,
        count,
        run.metric,
        yardstick.text(dense.quality_test),
        yardstick.text(pruned.quality_test),
        yardstick.change(dense.quality_test, pruned.quality_test),
        share_text(pruned.macs, dense.macs),
        share_text(pruned.params, dense.params),
    )


def compared_charts(runs: Sequence[RunEvidence]) -> list[Chart]:
    """Return figures that hold all runs; of quality those with the first one's metric."""
    alike = [one for one in runs if one.told is not None and one.metric == _metric(runs)]
    left_out = [one.name for one in runs if one not in alike]
    note = f"Not in it, for there is no result or another metric: {', '.join(left_out)}."
    charts = []
    if alike:
        figure = front_figure(alike)
        title = f"{alike[0].metric} against MACs"
        charts.append(Chart("all-front", title, figure, note if left_out else ""))
    note = "Scores compare only where model, data and the way of scoring are the same."
    return [
        *charts,
        Chart("all-history", "Best score by evaluation", compared_history(runs), note),
    ]


def _metric(runs: Sequence[RunEvidence]) -> str:
    return next((one.metric for one in runs if one.told is not None), "")
