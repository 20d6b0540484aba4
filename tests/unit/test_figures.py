"""Figures: the numbers are those of the run, and names stay text."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from autoprune.agent.housing.listed import find_listed
from autoprune.artifacts.goal import Goal, LimitTried
from autoprune.artifacts.result import LatencyCheck, Result
from autoprune.core.ledger import Outcome
from autoprune.reporting.asked_limits import costs_limited
from autoprune.reporting.evidence import LatencyTable, RunEvidence
from autoprune.reporting.figures.front import front_figure
from autoprune.reporting.figures.history import compared_history, history_figure
from autoprune.reporting.figures.latency import latency_figure
from autoprune.reporting.figures.look import lines, plain, short
from autoprune.reporting.figures.policy import policy_figure
from autoprune.reporting.figures.predictions import calibration_figure, reliability_figure
from autoprune.reporting.figures.rollback import rollback_figure
from autoprune.reporting.figures.spending import spending_figure
from autoprune.reporting.gather import gather
from autoprune.reporting.page.compared import compared_charts
from autoprune.reporting.page.searched import search_charts
from autoprune.reporting.units import unit_facts
from benchmarks.report.made import make_run

UNITS = ("stem", "layer1.conv")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunEvidence:
    folder = tmp_path_factory.mktemp("runs") / "night"
    make_run(folder, 60, UNITS)
    return gather(find_listed(str(folder), None))


def traces(figure: go.Figure) -> dict[str, Any]:
    """Return the traces of a figure that have a name of their own."""
    found: dict[str, Any] = {}
    for trace in figure.data:
        found.setdefault(trace.name, trace)
    return found


def test_bars_show_the_share_of_atoms_kept(run: RunEvidence) -> None:
    assert run.result is not None
    units = unit_facts(run.result, run.sensed, run.ledger)
    bars = traces(policy_figure(units))
    kept = {place: share for t in bars.values() for place, share in zip(t.y, t.x, strict=True)}
    assert set(kept) == {0, 1}
    by_method = {t.name: dict(zip(t.y, t.x, strict=True)) for t in bars.values()}
    for place, cut in enumerate(run.result.cuts):
        name = cut.method or "untouched"
        assert by_method[name][place] == cut.kept / cut.atoms
        assert by_method["removed"][place] == pytest.approx(1 - cut.kept / cut.atoms)
        own = dict(zip(bars[name].y, bars[name].hovertext, strict=True))[place]
        assert cut.unit in own
        assert f"{cut.kept} of {cut.atoms}" in own


def test_history_marks_each_fate_and_the_best_so_far(run: RunEvidence) -> None:
    found = traces(history_figure(run))
    marked = {
        "scored",
        "reverted a decision",
        "stopped early",
        "failed",
        "over the budget",
        "given back",
    }
    assert marked <= found.keys()
    inside = [one.score if one.fate in ("scored", "reverted") else None for one in run.trials]
    best = found["best score so far"].y
    assert best[-1] == min(score for score in inside if score is not None)
    assert list(best) == sorted(best, reverse=True)
    assert sum(found["skipped: spared by prediction"].y) == sum(one.spared for one in run.trials)


def test_the_front_shows_shares_of_the_dense_model(run: RunEvidence) -> None:
    assert run.result is not None
    found = traces(front_figure([run]))
    pruned, dense = run.result.pruned, run.result.dense
    assert found["returned, fine-tuned"].x == (pruned.macs / dense.macs,)
    assert found["returned, fine-tuned"].y == (pruned.quality_search,)
    assert (found["dense"].x, found["dense"].y) == ((1.0,), (dense.quality_search,))
    assert min(found["over the budget"].x) > 0.5 > max(found["scored"].x)


def at_limits(run: RunEvidence, budget: dict[str, str], **more: Any) -> RunEvidence:
    """Return a run with another budget, all whose evaluations take 4 ms by the table."""
    trials = [
        replace(one, costs={**one.costs, "latency@fake": 4.0}) if one.costs else one
        for one in run.trials
    ]
    dense = {**run.dense, "latency@fake": 10.0}
    settings = {**run.settings, "budget": budget}
    return replace(run, settings=settings, trials=trials, dense=dense, **more)


def timed(run: RunEvidence) -> Result:
    """Return its result, with 6 ms measured where the dense model takes 8 ms."""
    assert run.result is not None
    measured = ((run.result.dense, 8.0), (run.result.pruned, 6.0))
    dense, pruned = (one.model_copy(update={"latency_ms": {"fake": ms}}) for one, ms in measured)
    return run.result.model_copy(update={"dense": dense, "pruned": pruned})


def limits_in(figure: go.Figure) -> list[tuple[float, str]]:
    """Return where the lines of limits stand, and what they bear."""
    texts = [one.text for one in figure.layout.annotations]
    return list(zip([one.x0 for one in figure.layout.shapes], texts, strict=True))


def test_each_limited_cost_has_a_figure_with_its_limit_and_its_best(run: RunEvidence) -> None:
    own = at_limits(run, {"macs": "50%", "params": "9M"})
    assert costs_limited([own]) == ["macs", "params"]
    assert limits_in(front_figure([own], "macs")) == [(0.5, "limit 50%")]
    (params,) = limits_in(front_figure([own], "params"))
    assert params[0] == pytest.approx(9_000_000 / own.dense["params"])
    assert [one.id for one in search_charts(own, "r")] == ["r-front-0", "r-front-1", "r-history"]
    best = traces(front_figure([own]))["best of the evaluations"]
    assert list(best.x) == sorted(best.x)
    assert list(best.y) == sorted(set(best.y)), "who costs more is better"
    scored = [one for one in own.trials if one.counts and one.quality is not None]
    assert best.y[-1] == max(one.quality for one in scored if one.quality is not None)
    assert best.x[0] == min(one.costs["macs"] for one in scored) / own.dense["macs"]


def test_predicted_latencies_stand_beside_measured_ones_and_that_is_said(run: RunEvidence) -> None:
    own = at_limits(run, {"latency@fake": "70%"}, result=timed(run))
    figure = front_figure([own], "latency@fake")
    found = traces(figure)
    assert set(found["scored"].x) == {0.4}, "4 of 10 ms, both by the table"
    assert found["returned, fine-tuned"].x == (0.75,), "6 of 8 ms, both measured"
    assert limits_in(figure) == [(0.7, "limit 70%")]
    assert "by the table; returned: measured" in figure.layout.xaxis.title.text
    assert "latency on fake: 40.0% of the dense model's by the table" in found["scored"].text[0]
    notes = [one.note for one in search_charts(own, "r")]
    assert "where the latency table predicts them" in notes[0]


def test_a_limit_in_milliseconds_has_an_axis_in_milliseconds(run: RunEvidence) -> None:
    own = at_limits(run, {"latency@fake": "5ms"}, result=timed(run), aims={"latency@fake": 4.5})
    figure = front_figure([own], "latency@fake")
    found = traces(figure)
    assert set(found["scored"].x) == {4.0}
    assert (found["returned, fine-tuned"].x, found["dense"].x) == ((6.0,), (8.0,))
    assert limits_in(figure) == [(5.0, "limit 5ms"), (4.5, "aimed at")]


def test_runs_stand_on_one_axis_even_where_one_knows_no_limit(run: RunEvidence) -> None:
    own = at_limits(run, {"latency@fake": "70%"}, result=timed(run))
    figure = front_figure([own, run], "macs")
    assert limits_in(figure) == [(0.5, "limit 50%")], "that of the one which limits it"
    assert [one.id for one in compared_charts([own, run])] == [
        *("all-front-0", "all-front-1", "all-history"),
    ]


def test_on_the_way_to_a_drop_every_limit_is_marked_and_none_was_best(run: RunEvidence) -> None:
    assert run.result is not None
    tried = [
        LimitTried(limit=f"macs={n}%", within=True, drop=0.1, share=n / 100, evaluations=3)
        for n in (60, 40, 50, 45)
    ]
    goal = Goal(
        max_drop=1.0,
        minimise="macs",
        drop_search=0.1,
        drop_test=0.1,
        standard_error=None,
        ended="narrow",
        trials=9,
        limits=tried,
    )
    result = run.result.model_copy(update={"goal": goal})
    settings = {"budget": {"macs": "98%"}, "tolerance": "lowest macs within 1 point"}
    own = replace(run, settings=settings, result=result)
    assert [at for at, _ in limits_in(front_figure([own]))] == [0.4, 0.45, 0.5, 0.6]
    assert "best score so far" not in traces(history_figure(own))
    assert [trace.name for trace in compared_history([own, run]).data] == ["night"]


def test_several_runs_have_a_colour_and_a_line_each(run: RunEvidence) -> None:
    figure = compared_history([run, run])
    assert [len(trace.x) for trace in figure.data] == [len(run.trials)] * 2
    assert {trace.name for trace in front_figure([run, run]).data} >= {"night"}


def test_regrets_stand_in_the_order_in_which_they_came(run: RunEvidence) -> None:
    found = traces(rollback_figure(run.ledger))
    reverted = [
        (at, one.regret) for at, one in enumerate(run.ledger, 1) if one.outcome is Outcome.REVERTED
    ]
    assert list(zip(found["reverted"].x, found["reverted"].y, strict=True)) == reverted
    assert "p 0.001, below 0.005 needed" in found["reverted"].text[0]


def test_calibration_tells_which_scores_were_inside(run: RunEvidence) -> None:
    made = [one.prediction for one in run.trials if one.prediction]
    inside = [p for p in made if p.low <= p.score <= p.high]
    found = traces(calibration_figure(run.trials))
    own = found[f"inside its interval ({len(inside)})"]
    assert list(own.y) == [p.score for p in inside]
    assert list(own.error_x.array) == pytest.approx([p.high - p.expected for p in inside])
    outside = len(made) - len(inside)
    assert (f"outside ({outside})" in found) is (outside > 0)


def test_reliability_is_what_trials_kept(run: RunEvidence) -> None:
    found = traces(reliability_figure(run.trials))
    kept = [one.record for one in run.trials if one.record]
    assert list(found["rank correlation"].y) == [one["spearman"] for one in kept]
    assert list(found["share inside the 90% intervals"].y) == [one["coverage"] for one in kept]


def test_a_table_stands_beside_what_was_measured() -> None:
    table = LatencyTable(
        target="onnxruntime",
        device={},
        fingerprint="f",
        layers=3,
        models=2,
        error=0.03,
        predicted_ms=4.1,
    )
    check = LatencyCheck(
        ratio=0.5, low=0.48, high=0.53, dense_ms=8.0, pruned_ms=4.0, pairs=9, busy=False
    )
    found = traces(latency_figure([table], {"onnxruntime": check}))
    assert [found[name].y[0] for name in found] == [8.0, 4.1, 4.0]
    error = found["pruned, measured"].error_y
    assert (error.array[0], error.arrayminus[0]) == pytest.approx((0.24, 0.16))


def test_time_is_shown_by_part(run: RunEvidence) -> None:
    seconds, forwards = spending_figure(run.spent).data
    assert dict(zip(seconds.y, seconds.x, strict=True)) == {o.part: o.seconds for o in run.spent}
    assert sum(one or 0 for one in forwards.x) > 0


def test_figures_of_nothing_can_be_drawn(run: RunEvidence) -> None:
    empty = RunEvidence(name="new", state="running", begun=run.begun, settings={})
    made = [
        *(history_figure(empty), front_figure([empty]), compared_history([empty])),
        *(policy_figure(()), rollback_figure(()), calibration_figure(()), reliability_figure(())),
        *(latency_figure((), {}), spending_figure(())),
    ]
    assert all(figure.to_json() for figure in made)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("<a href='javascript:x'>", "&lt;a href='javascript:x'&gt;"),
        ("a&lt;b", "a&amp;lt;b"),
        ("up\nand\u202edown\x00", "up and down "),
    ],
)
def test_names_are_no_markup(given: str, shown: str) -> None:
    assert plain(given) == shown
    assert lines(given, "", "more") == f"{plain(given)}<br>more"


def test_long_names_keep_their_end() -> None:
    name = "a" * 40 + ".conv2"
    assert short(name).startswith("…")
    assert short(name).endswith(".conv2")
    assert len(short(name)) == 30
