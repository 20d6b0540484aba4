"""Reports and progress: the figures are those of the result, and names cannot break the layout."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoprune.artifacts.goal import Goal, LimitTried
from autoprune.artifacts.result import (
    Checks,
    LatencyCheck,
    Measured,
    Predictions,
    ProgressiveStep,
    Result,
    Rolledback,
    SearchCost,
    UnitChoice,
    UnitCut,
)
from autoprune.core.progress import Ended, Progress, SearchState
from autoprune.core.progressive import Step, StepOutcome
from autoprune.reporting.effort import effort_line
from autoprune.reporting.goal import goal_rows
from autoprune.reporting.markdown import escape_markdown, render_markdown
from autoprune.reporting.progress import PlainProgress, progress_for
from autoprune.reporting.progress_text import ended_text, state_text, summary
from autoprune.reporting.rows import bar, budget_rows
from autoprune.reporting.tables import PlainConsole
from autoprune.reporting.terminal import print_report
from autoprune.reporting.text import (
    count_text,
    duration_text,
    ms_text,
    share_text,
)


def make_result(unit: str = "layer1.0.conv1", **checks: Any) -> Result:
    passed: dict[str, Any] = {"sliced_equals_masked": True, "budget_met": True} | checks
    return Result(
        task="classification",
        metric="accuracy",
        dense=Measured(
            quality_search=0.98,
            quality_test=0.9741,
            macs=12_300_000,
            params=78_042,
            size_bytes=2**20,
            memory_bytes=4_000_000,
            sparse_macs=12_300_000,
            sparse_size_bytes=2**20,
        ),
        pruned=Measured(
            quality_search=0.975,
            quality_test=0.9711,
            macs=6_150_000,
            params=20_000,
            size_bytes=99_999,
            memory_bytes=2_000_000,
            sparse_macs=6_150_000,
            sparse_size_bytes=99_999,
        ),
        policy={unit: UnitChoice(method="channel.l1", sparsity=0.5)},
        cuts=[
            UnitCut(unit=unit, atoms=16, kept=8, method="channel.l1"),
            UnitCut(unit="stem", atoms=8, kept=8, method=None),
        ],
        budget={"macs": "50%", "size": "100000"},
        search=SearchCost(evaluations=40, sample_forwards=1.2e6, seconds=61.4, seed=0),
        checks=Checks(reload_max_diff=0.0, onnx_max_diff=2.5e-7, **passed),
        versions={"autoprune": "0.1.0", "torch": "2.14.1"},
    )


def shown(result: Result, width: int = 100) -> str:
    stream = io.StringIO()
    print_report(result, Path("runs/one"), PlainConsole(stream, width))
    return stream.getvalue()


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_report_says_what_the_result_says(form: str) -> None:
    text = shown(make_result()) if form == "terminal" else render_markdown(make_result())
    flat = re.sub(r"[\s|]+", " ", text)
    for part in (
        "accuracy, search split 98.00% 97.50% -0.50 points",
        "accuracy, test split 97.41% 97.11% -0.30 points",
        "MACs (1 MAC = 2 FLOPs) 12.3 M 6.15 M 50.0% of dense",
        "parameters 78.0 k 20.0 k 25.7% of dense",
        "file size 1.05 MB 100 kB 9.6% of dense",
        "macs 50% (6.15 M) 6.15 M inside",
        "sliced model equals masked model yes",
        "largest difference in ONNX 2.5e-07",
        "layer1.0.conv1 channel.l1 8/16 ██████████░░░░░░░░░░",
        "stem untouched 8/8 ████████████████████",
        "40 evaluations, 1.20 M sample forwards, 61 s of scoring and training, summed over "
        "workers, sampler tpe, seed 0.",
    ):
        assert part in flat.replace("\\", "")


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_a_report_says_what_speaks_against_the_result(form: str) -> None:
    good = make_result()
    dense = good.dense.model_copy(update={"quality_search": 0.18, "quality_test": 0.17})
    for result, minded in (good, False), (good.model_copy(update={"dense": dense}), True):
        text = shown(result) if form == "terminal" else render_markdown(result)
        flat = re.sub(r"\s+", " ", text)
        assert ("Mind:" in flat) is minded
        assert ("better than the dense one (accuracy 18.00% before)" in flat) is minded


@pytest.mark.parametrize("busy", [False, True])
def test_a_measured_latency_is_shown_with_its_interval(busy: bool) -> None:
    target = "pytorch/channels_last"
    check = LatencyCheck(
        ratio=0.574, low=0.561, high=0.59, dense_ms=8.0, pruned_ms=4.592, pairs=44, busy=busy
    )
    result = make_result(latency={target: check})
    figures = {"dense": 8.0, "pruned": 4.592}
    changes: dict[str, Any] = {"budget": {f"latency@{target}": "60%"}} | {
        name: getattr(result, name).model_copy(update={"latency_ms": {target: ms}})
        for name, ms in figures.items()
    }
    result = result.model_copy(update=changes)
    for text in (shown(result), render_markdown(result).replace("\\", "")):
        flat = re.sub(r"[\s|]+", " ", text)
        assert f"latency by dense, {target} 57.4% (95%: 56.1% to 59.0%), 44 pairs" in flat
        assert ("44 pairs; the device was busy" in flat) is busy
        assert f"latency, {target} 8 ms 4.59 ms 57.4% of dense" in flat
        assert f"latency@{target} 60% (4.8 ms) 4.59 ms inside" in flat


def test_the_terminal_report_ends_with_the_folder() -> None:
    assert shown(make_result()).rstrip().endswith("Result in runs/one")


def test_a_narrow_terminal_loses_nothing() -> None:
    text = re.sub(r"\s", "", shown(make_result("backbone.stage3.block11.conv2"), width=50))
    assert "50.0%" in text
    assert "8/16" in text


def test_a_failed_check_and_a_missed_budget_are_loud() -> None:
    result = make_result(sliced_equals_masked=False, budget_met=False)
    over = result.model_copy(update={"budget": {"macs": "10%"}})
    assert budget_rows(over) == [("macs", "10% (1.23 M)", "6.15 M", False)]
    for text in (shown(over), render_markdown(over)):
        assert "OVER" in text
        assert len(re.findall(r"\bNO\b", text)) == 2


@pytest.mark.parametrize("name", ["a|b", "[red]x[/red]", "*bold*", "<b>", "[link](http://x)"])
def test_names_are_shown_as_they_are(name: str) -> None:
    assert name in shown(make_result(name))
    row = next(line for line in render_markdown(make_result(name)).splitlines() if "8/16" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert escape_markdown(name) in row


def test_a_metric_that_looks_like_markup_is_shown_as_it_is_in_what_a_search_cost() -> None:
    result = make_result().model_copy(update={"metric": "<b>*top*</b>"})
    rollback = Rolledback(examined=3, reverted=1, quality_regained=0.05)
    search = result.search.model_copy(update={"rollback": rollback})
    result = result.model_copy(update={"search": search})
    assert "<b>*top*</b> +5.00 points" in effort_line(result)
    assert "<b>" not in render_markdown(result)


def test_markdown_tables_have_no_holes() -> None:
    text = render_markdown(make_result())
    assert "\n\n\n" not in text
    assert text.endswith("torch 2.14.1.\n")
    assert "| ---: |\n\n|" not in text


@pytest.mark.parametrize(
    ("kept", "expected"), [(0, "░░░░"), (1, "█░░░"), (50, "██░░"), (99, "███░"), (100, "████")]
)
def test_a_bar_is_full_only_if_nothing_was_cut(kept: int, expected: str) -> None:
    assert bar(UnitCut(unit="u", atoms=100, kept=kept, method=None), width=4) == expected


def test_figures() -> None:
    assert [count_text(n) for n in (0, 999, 1000, 123_456, 999_499, 5 * 10**9)] == [
        *("0", "999", "1.00 k", "123 k", "999 k", "5.00 G")
    ]
    rounded_up = (999_500, 999_999, 999_500_000, 999_999_999)
    assert [count_text(n) for n in rounded_up] == ["1.00 M", "1.00 M", "1.00 G", "1.00 G"]
    assert [ms_text(ms) for ms in (0.01234, 9.876, 123.4, 999.4)] == [
        *("0.0123 ms", "9.88 ms", "123 ms", "999 ms")
    ]
    assert [ms_text(ms) for ms in (999.6, 1234.5, 98765.0)] == [
        "1,000 ms",
        "1,234 ms",
        "98,765 ms",
    ]
    assert share_text(50.01, 100) == "50.1%"
    assert [share_text(n / 1000, 1.0) for n in range(1001)] == [f"{n / 10}%" for n in range(1001)]
    assert [duration_text(s) for s in (0, 61, 3661, -1)] == ["0:00", "1:01", "1:01:01", "0:00"]


def event(done: int, **known: Any) -> Progress:
    return Progress(stage="search", done=done, total=40, **known)


def test_plain_lines_are_rare_and_complete() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = PlainProgress(stream, every=10, clock=lambda: now[0])
    for done in range(41):
        progress(event(done, best_quality=0.97, feasible_macs=0.498, seconds_left=80 - 2 * done))
        now[0] += 2
    lines = stream.getvalue().splitlines()
    assert lines[0] == "scoring policies 0/40, best by score: 97.00%, 49.8% of MACs, 1:20 left"
    assert lines[-1].startswith("scoring policies 40/40")
    assert len(lines) == 9


def test_what_is_best_is_said_for_it_may_fall() -> None:
    search = Progress(stage="search", done=3, total=9, best_quality=0.9889)
    assert summary(search) == "best by score: 98.89%"
    assert summary(replace(search, stage="recover")) == "best of those trained longest: 98.89%"


def test_a_note_is_shown_once() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream, every=10)
    for done in range(3):
        progress(event(done, note="Unit 'x' stays whole."))
    assert stream.getvalue().count("Unit 'x' stays whole.") == 1


STATE = SearchState(
    working=2,
    stopped=3,
    failed=1,
    reused=4,
    inside=15,
    predictions=12,
    rank_correlation=0.651,
    coverage=0.9,
    decides=True,
    examined=5,
    reverted=2,
)
ENDED = Ended(
    number=7,
    source="switch",
    outcome="scored",
    quality=0.97,
    score=0.1234,
    expected=0.2,
    seconds=3.21,
)


def test_how_a_search_stands_is_told() -> None:
    assert state_text(event(20, state=STATE)) == (
        "2 being scored, 3 stopped early, 1 failed, 4 known before, 75% priced inside the limits, "
        "predictor decides (rank correlation 0.65, 90% inside their intervals, of 12), "
        "2 of 5 decisions reverted"
    )
    assert state_text(event(20, state=SearchState(working=1, inside=20))) == ""
    recorded = SearchState(inside=20, predictions=9, rank_correlation=0.1)
    lost = SearchState(inside=20, lost=2, why_lost="ended by signal 9")
    assert state_text(event(20, state=lost)) == "2 lost workers, the last ended by signal 9"
    told = "predictor only recorded (rank correlation 0.10, of 9)"
    assert state_text(event(20, state=recorded)) == told
    assert state_text(event(20)) == ""


def test_figures_of_few_predictions_are_not_told() -> None:
    few = SearchState(inside=20, predictions=3, decides=True)
    assert state_text(event(20, state=few)) == "predictor decides (too early to judge, of 3)"


def test_each_evaluation_is_told_where_that_is_wanted() -> None:
    failed = replace(ENDED, outcome="failed: it raised", score=None, quality=None, source="")
    assert ended_text(ENDED) == "trial 7: switch, score 0.1234 (0.2 expected), 97.00%, 3.2 s"
    assert ended_text(failed) == "trial 7, failed: it raised, 3.2 s"
    for verbose, lines in ((True, 3), (False, 1)):
        stream = io.StringIO()
        with progress_for(stream, verbose=verbose) as progress:
            progress(event(2, ended=(ENDED, failed)))
        assert len(stream.getvalue().splitlines()) == lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with progress_for(stream) as progress:
        progress(Progress(stage="trace", done=4, total=4))
        progress(event(20, best_quality=0.97, note="[odd] note", seconds_left=5, state=STATE))
    assert "scoring policies" in stream.getvalue()
    assert "[odd] note" in stream.getvalue()
    assert "2 of 5 decisions reverted" in stream.getvalue()


def test_elsewhere_there_are_lines_and_quiet_is_silent() -> None:
    stream = io.StringIO()
    with progress_for(stream) as progress:
        progress(event(1))
    assert stream.getvalue() == "scoring policies 1/40\n"
    with progress_for(stream, quiet=True) as progress:
        progress(event(2))
    assert stream.getvalue() == "scoring policies 1/40\n"


def test_predictions_are_told_where_there_are_enough_to_tell() -> None:
    cost = {"evaluations": 40, "sample_forwards": 1.0, "seconds": 1.0, "seed": 0, "stopped": 3}
    for count, told in ((9, False), (10, True)):
        predictions = Predictions(count=count, spearman=0.8, coverage=0.9)
        search = SearchCost(**cost, sampler="budgeted", predictions=predictions)  # type: ignore[arg-type]
        line = effort_line(make_result().model_copy(update={"search": search}))
        assert line.startswith("40 evaluations (3 stopped early), ")
        sentence = "90% fell inside their 90% interval; rank correlation 0.80."
        assert (sentence in line) is told
        assert "candidates" not in line


@pytest.mark.parametrize(
    ("audited", "bound", "told"),
    [
        (
            7,
            0.348,
            "of 7 of that kind scored all the same, 0 did (95% confidence: at most 35% do).",
        ),
        (0, None, "none of that kind was scored to audit it."),
        (1, 0.95, "not able to beat the best."),
    ],
)
def test_what_was_spared_is_told_with_how_it_was_audited(
    audited: int, bound: float | None, told: str
) -> None:
    worth = {"count": 40, "spearman": 0.8, "coverage": 0.9, "spared": 210}
    predictions = Predictions(**worth, audited=audited, wrong_at_most=bound)  # type: ignore[arg-type]
    result = make_result()
    search = result.search.model_copy(update={"predictions": predictions})
    line = effort_line(result.model_copy(update={"search": search}))
    assert "210 candidates were not scored, as by prediction not able to beat the best" in line
    assert line.endswith(told)


def test_audits_that_went_wrong_are_told_however_few_they_were() -> None:
    worth = {"count": 40, "spearman": 0.8, "coverage": 0.9, "spared": 210}
    predictions = Predictions(**worth, audited=2, wrong=1, wrong_at_most=0.98)  # type: ignore[arg-type]
    result = make_result()
    search = result.search.model_copy(update={"predictions": predictions})
    line = effort_line(result.model_copy(update={"search": search}))
    assert line.endswith("the best; of 2 of that kind scored all the same, 1 did.")


# --- the smallest model within a drop


def within_a_drop(**changes: Any) -> Result:
    limits = [
        LimitTried(limit="macs=40%", within=False, drop=2.5, share=0.398, evaluations=4),
        LimitTried(limit="macs=60%", within=True, drop=0.5, share=0.5, evaluations=3),
        LimitTried(
            limit="macs=50%",
            within=False,
            drop=None,
            share=None,
            evaluations=2,
            reason="None | could be scored.",
        ),
    ]
    goal: dict[str, Any] = {
        **{"max_drop": 1.0, "minimise": "macs", "drop_search": 0.5, "drop_test": 1.25},
        **{"standard_error": 0.314, "ended": "trials", "trials": 9, "limits": limits},
    }
    return make_result().model_copy(update={"goal": Goal(**goal | changes)})


def test_the_drop_is_told_on_both_splits_and_too_much_is_marked() -> None:
    result = within_a_drop()
    stream = io.StringIO()
    print_report(result, Path("runs/mine"), PlainConsole(stream, 120))
    for text in (stream.getvalue(), render_markdown(result)):
        search, test = (line for line in text.splitlines() if "split (" in line)
        assert "0.50 ± 0.31 points" in search
        assert "1 point " in search
        assert "within" in search
        assert "1.25 points" in test
        assert "MORE" in test
        assert "the trials were used up" in text
    goal = within_a_drop(drop_test=1.0).goal
    assert goal is not None
    assert goal_rows(goal, is_share=True)[1][3]


def test_a_drop_without_its_error_is_told_without() -> None:
    goal = within_a_drop(standard_error=None).goal
    assert goal is not None
    assert goal_rows(goal, is_share=True)[0][2] == "0.50 points"


def test_each_limit_is_a_row_and_reasons_cannot_break_it() -> None:
    rows = [line for line in render_markdown(within_a_drop()).splitlines() if "| macs=" in line]
    assert rows == [
        "| macs=40% | 4 | 39.8% | 2.50 points | too much |",
        "| macs=60% | 3 | 50.0% | 0.50 points | within |",
        r"| macs=50% | 2 |  |  | None \| could be scored. |",
    ]


def test_without_a_drop_nothing_is_said_of_one() -> None:
    assert "Drop" not in render_markdown(make_result())


def test_steps_of_a_progressive_run_are_rows() -> None:
    steps = [
        Step(
            training_steps=20,
            used={"macs": 0.5, "params": 0.25},
            quality=None,
            attempts=2,
            outcome=StepOutcome.FAILED,
        ),
        Step(
            training_steps=40,
            used={"macs": 0.5, "params": 0.25},
            quality=0.9,
            attempts=1,
            outcome=StepOutcome.CUT,
        ),
    ]
    result = make_result().model_copy(update={"steps": list(map(ProgressiveStep.of, steps))})
    rows = [line for line in render_markdown(result).splitlines() if "of params" in line]
    used = "50% of macs, 25% of params"
    assert rows == [
        f"| 20 | {used} |  | 2 | {StepOutcome.FAILED.value} |",
        f"| 40 | {used} | 90.00% | 1 | cut and trained |",
    ]
    stream = io.StringIO()
    print_report(result, Path("runs/mine"), PlainConsole(stream, 120))
    assert used in stream.getvalue()
    assert "## Steps" not in render_markdown(make_result())


def of_psnr(**changes: Any) -> Result:
    """Return a result whose metric is no share."""
    result = within_a_drop(**changes)
    before = result.dense.model_copy(update={"quality_search": 30.0, "quality_test": 30.0})
    after = result.pruned.model_copy(update={"quality_search": 29.95, "quality_test": 29.9})
    told = {"metric": "PSNR", "is_share": False, "dense": before, "pruned": after}
    return result.model_copy(update=told)


def test_drops_of_what_is_no_share_are_in_its_own_unit() -> None:
    result = of_psnr(drop_search=0.05, drop_test=1.1, standard_error=0.02)
    stream = io.StringIO()
    print_report(result, Path("runs/mine"), PlainConsole(stream, 120))
    for text in (stream.getvalue(), render_markdown(result)):
        assert "0.05 ± 0.02" in text
        assert "Lowest macs within 1; the end" in text
        assert "point" not in text
        assert "-0.1" in text
    rows = [line for line in render_markdown(result).splitlines() if "| macs=60%" in line]
    assert rows == ["| macs=60% | 3 | 50.0% | 0.5 | within |"]


def test_what_was_regained_is_of_the_metric() -> None:
    found = Rolledback(examined=3, reverted=1, quality_regained=0.05)
    cost = make_result().search.model_copy(update={"rollback": found})
    share = make_result().model_copy(update={"search": cost})
    assert "1 reverted (accuracy +5.00 points)" in effort_line(share)
    error = of_psnr().model_copy(update={"search": cost, "higher_is_better": False})
    assert "1 reverted (PSNR -0.05)" in effort_line(error)


def test_what_is_no_share_is_never_told_in_percent_while_it_is_searched() -> None:
    error = Progress(stage="search", done=3, total=9, best_quality=0.34, is_share=False)
    assert summary(error) == "best by score: 0.34"
    stream = io.StringIO()
    one = replace(ENDED, quality=0.34, score=0.3, expected=None, seconds=1.0)
    PlainProgress(stream, every=10, verbose=True)(replace(error, ended=(one,)))
    assert "score 0.3, 0.34, 1.0 s" in stream.getvalue()
    assert "%" not in stream.getvalue()
