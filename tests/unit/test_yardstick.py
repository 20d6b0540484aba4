"""How qualities are written: shares in percent and points, what is none as it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoprune.agent.housing.listed import find_listed
from autoprune.agent.housing.workspace import DATABASE, STUDY
from autoprune.artifacts.result import Result
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.reporting.comparisons import comparisons
from autoprune.reporting.dashboard.notable import decision
from autoprune.reporting.dashboard.watch import viewed
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.front import front_figure
from autoprune.reporting.figures.history import history_figure, trial_text
from autoprune.reporting.gather import gather
from autoprune.reporting.ledger_terminal import change_by
from autoprune.reporting.page.compared_table import compared_table
from autoprune.reporting.reproduce import command
from autoprune.reporting.story import story_of
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.runs import Runs
from benchmarks.report.made import MACS, make_run

SHARE = Yardstick(metric="top-1")
PSNR = Yardstick(metric="PSNR", is_share=False)
ERROR = Yardstick(metric="squared error", higher_is_better=False, is_share=False)
KEPT = replace(ERROR, dense_macs=MACS)
Run = Callable[..., tuple[int, str, str]]


def test_a_share_is_in_percent_and_moves_by_points() -> None:
    assert (SHARE.text(1.0), SHARE.text(0.5)) == ("100.00%", "50.00%")
    assert SHARE.change(0.5, 0.48) == "-2.00 points"
    assert SHARE.gain(0.05) == "+5.00 points"


def test_what_is_no_share_is_a_number_wherever_it_lies() -> None:
    assert (ERROR.text(-0.34), ERROR.text(-1.2), ERROR.text(0.0)) == ("0.34", "1.2", "0")
    assert ERROR.change(-0.34, -1.2) == "+0.86", "an error that rises"
    assert ERROR.change(-0.34, -0.3) == "-0.04"
    assert ERROR.gain(0.04) == "-0.04", "what is gained lowers it"
    assert (PSNR.text(30.0), PSNR.change(30.0, 29.9)) == ("30", "-0.1")


def test_a_share_that_is_better_the_lower_it_is_moves_as_it_is_shown() -> None:
    rate = Yardstick(metric="error rate", higher_is_better=False)
    assert rate.text(-0.25) == "25.00%"
    assert rate.change(-0.25, -0.125) == "-12.50 points"
    assert rate.gain(0.125) == "-12.50 points"


def test_what_earlier_versions_did_not_tell_is_a_share_if_it_looks_so() -> None:
    assert Yardstick.of({}) == Yardstick()
    old = Yardstick.of({"dense_macs": 9, "higher_is_better": False})
    assert old == Yardstick(higher_is_better=False, dense_macs=9)
    assert (old.text(-0.25), old.text(-30.5)) == ("25.00%", "30.5")
    assert old.change(-0.5, -1.5) == "+1"
    assert Yardstick.of({**KEPT.to_dict(), "of a later version": 1}) == KEPT


# --- a run, before and after its end


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that has no result yet, and keeps nothing of its metric."""
    folder = tmp_path_factory.mktemp("runs") / "night"
    make_run(folder, 40, ("stem", "layer1.conv"), finished=False)
    return folder


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return make_run(tmp_path_factory.mktemp("runs") / "done", 40, ("stem", "layer1.conv"))


def keep(folder: Path, kept: dict[str, Any]) -> None:
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.find_run(STUDY)
        assert run is not None
        Runs(database).keep(run.id, YARDSTICK, kept)


@pytest.fixture
def searched(folder: Path) -> RunEvidence:
    """Return a run that has no result yet, of an error."""
    keep(folder, KEPT.to_dict())
    return gather(find_listed(str(folder), None))


def of(result: Result, yardstick: Yardstick, search: tuple[float, float], test: Any) -> Result:
    """Return a result with other qualities of the dense and of the pruned model."""
    models = {
        name: getattr(result, name).model_copy(
            update={"quality_search": search[at], "quality_test": test[at]}
        )
        for at, name in enumerate(("dense", "pruned"))
    }
    told = yardstick.to_dict()
    return result.model_copy(update={**told, **models})


def test_a_gap_between_splits_is_told_of_shares_alone(
    result: Result, searched: RunEvidence
) -> None:
    def said(found: Result) -> str:
        return " ".join(story_of(replace(searched, result=found)).cautions)

    wide = of(result, SHARE, (0.8, 0.795), (0.8, 0.78))
    assert (
        "On the test split top-1 changes by -2.00 points, on the search split, which candidates "
        "were chosen by, by -0.50 points." in said(wide)
    )
    rate = Yardstick(metric="error rate", higher_is_better=False)
    rises = said(of(result, rate, (-0.2, -0.205), (-0.2, -0.22)))
    assert "error rate changes by +2.00 points, on the search split" in rises
    assert "test split" not in said(of(result, SHARE, (0.8, 0.795), (0.8, 0.79)))
    decibels = ((30.0, 29.95), (30.0, 29.9))
    assert "test split" not in said(of(result, PSNR, *decibels))
    unsaid = replace(PSNR, is_share=True)  # as an earlier version wrote it
    assert "test split" not in said(of(result, unsaid, *decibels))


def test_a_table_writes_an_error_as_a_number(result: Result, searched: RunEvidence) -> None:
    found = of(result, ERROR, (-0.34, -0.3), (-0.34, -1.2))
    search, test = comparisons(found)[:2]
    assert (search.dense, search.pruned, search.change) == ("0.34", "0.3", "-0.04")
    assert (test.dense, test.pruned, test.change) == ("0.34", "1.2", "+0.86")
    done = replace(searched, result=found)
    assert compared_table([done]).rows[0][5:8] == ("0.34", "1.2", "+0.86")
    assert "squared error is 1.2; that of the dense model is 0.34 (+0.86)." in story_of(done).came


def test_before_its_end_a_run_is_read_by_what_it_kept(searched: RunEvidence) -> None:
    assert (searched.result, searched.metric) == (None, "squared error")
    assert searched.dense["macs"] == MACS
    one = next(one for one in searched.trials if one.quality is not None)
    negative = replace(one, quality=-0.3, costs={"macs": MACS // 2})
    text = trial_text(negative, 1, searched, ["macs"])
    assert "squared error 0.3<br>MACs: 50.0% of the dense model's" in text
    run = replace(searched, trials=[negative])
    front, history = front_figure([run]), history_figure(run)
    assert (front.data[0].x, front.data[0].y) == ((0.5,), (0.3,))
    assert front.layout.xaxis.title.text == "MACs, share of the dense model"
    axes = front.layout.yaxis, history.layout.yaxis2
    assert [axis.title.text for axis in axes] == ["squared error, search split", "squared error"]
    assert [axis.tickformat for axis in axes] == [None, None], "no percent"


def test_an_earlier_run_without_a_result_is_read_as_before(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    make_run(folder, 40, ("stem",), finished=False)
    keep(folder, {"dense_macs": MACS, "higher_is_better": True})
    run = gather(find_listed(str(folder), None))
    assert (run.metric, run.dense["macs"]) == ("quality", MACS)
    one = next(one for one in run.trials if one.quality is not None)
    assert "quality 75.00%" in trial_text(replace(one, quality=0.75), 1, run, ["macs"])


def test_a_decision_moves_the_metric_alike_in_every_place(searched: RunEvidence) -> None:
    worse = replace(searched.ledger[0], quality_before=-0.3, quality_after=-0.4)
    assert change_by(worse, KEPT) == decision(worse, KEPT)[2] == "+0.1"
    assert change_by(replace(worse, quality_after=None), KEPT) == ""


def test_the_dashboard_reads_a_run_by_what_it_kept(folder: Path) -> None:
    keep(folder, KEPT.to_dict())
    with viewed(sqlite_url(folder / DATABASE), None) as (view, _):
        (study,) = view.get_all_studies()
        facts = view.shown(study._study_id).facts
        assert facts.yardstick == KEPT
        notes = [
            text
            for name, text in view.get_study_system_attrs(study._study_id).items()
            if "note_str" in name
        ]
    best = next(text for text in notes if "**Best so far**" in text)
    assert "squared error -0." in best, "the made-up run holds positive qualities"
    assert "| units | regret | squared error | outcome |" in best
    assert any("| squared error on the search split | -0." in text.lower() for text in notes)
    assert not any(" points)" in text or " points |" in text for text in notes)


def test_the_ledger_of_a_run_names_its_metric(folder: Path, run_autoprune: Run) -> None:
    keep(folder, KEPT.to_dict())
    text = run_autoprune("ledger", str(folder))[1]
    assert "change: of squared error on the search split" in " ".join(text.split())
    assert "points" not in text


def test_the_best_of_a_run_are_shown_as_its_metric_is(folder: Path, run_autoprune: Run) -> None:
    keep(folder, KEPT.to_dict())
    told = json.loads(run_autoprune("runs", "show", str(folder), "--json")[1])
    assert told["is_share"] is False
    assert [one["quality"] < 0 for one in told["best"]] == [True] * 5, "made up as positive ones"
    rows = run_autoprune("runs", "show", str(folder))[1].partition("Best evaluations")[2]
    assert "%" not in rows


@pytest.mark.parametrize(
    ("asked", "drop"), [("lowest macs within 1 point", 1.0), ("lowest macs within 0.5", 0.5)]
)
def test_a_drop_is_asked_again_in_its_unit(searched: RunEvidence, asked: str, drop: float) -> None:
    settings = {**searched.settings, "tolerance": asked}
    again = command(replace(searched, settings=settings, source="search.yaml"))
    assert f"--max-drop {drop} --minimise macs" in again
