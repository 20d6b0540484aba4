"""Studies as the dashboard sees them: what is feasible, what is best, what is called how."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprune.agent.housing.described import DENSE, MEASURED, TIGHTENED, UNITS
from autoprune.agent.housing.listed import find_listed
from autoprune.agent.housing.workspace import CONFIG, DATABASE, PAGE, POLICY, STUDY
from autoprune.core.policy import Choice, Policy
from autoprune.reporting.dashboard.read_only import ReadOnlyError
from autoprune.reporting.dashboard.view import View
from autoprune.reporting.dashboard.watch import viewed
from autoprune.reporting.gather import gather
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_study

pytestmark = pytest.mark.usefixtures("quiet_optuna")

LATENCY = "latency@fake"
METHODS = ["channel.l1", "channel.l2"]
HOSTILE = "<img src=x onerror=alert(1)>"


def trial(
    level: int, score: float | None, latency: float = 5.0, over: float = -0.1, **more: Any
) -> FrozenTrial:
    """Return a trial that cuts a unit of 8 atoms to ``8 - level``."""
    return create_trial(
        state=TrialState.FAIL if score is None else TrialState.COMPLETE,
        value=score,
        params={"level:u": level, "method:u": "channel.l2"},
        distributions={
            "level:u": IntDistribution(0, 4),
            "method:u": CategoricalDistribution(METHODS),
        },
        user_attrs={"costs": {"macs": 100 - level, LATENCY: latency}, "outcome": "scored", **more},
        constraints={LATENCY: over},
    )


def policy(level: int) -> Policy:
    return Policy({"u": Choice("channel.l2", level / 8)})


class Run:
    """The folder of a run that is being searched."""

    def __init__(self, folder: Path, pareto: str | None = None) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / CONFIG).write_text("{}")
        self.url = sqlite_url(folder / DATABASE)
        config = {"budget": {LATENCY: "10ms"}, "pareto": pareto, "tolerance": None}
        with Database.open(self.url) as database:
            self.id = database.start_run(STUDY, config, "model", "data")
        units = {"u": {"atoms": 8, "methods": METHODS, "kept": [8, 7, 6, 5, 4]}}
        self.tell({UNITS: units, DENSE: {"macs": 200, LATENCY: 20.0}})

    def tell(self, attributes: dict[str, Any]) -> None:
        study = open_study(self.url, STUDY)
        for name, value in attributes.items():
            study.set_user_attr(name, value)
        close_study(study)

    def add(self, *trials: FrozenTrial) -> None:
        study = open_study(self.url, STUDY)
        study.add_trials(trials)
        close_study(study)

    def recover(self, level: int, loss: float, quality: float = 0.9) -> None:
        key = EvaluationKey("model", "data", policy(level).fingerprint, "way")
        found = Evaluation(policy(level), "recovered", loss, quality, 1.0, 1.0)
        with Database.open(self.url) as database:
            database.record_evaluation(self.id, key, found)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "night")


def best(run: Run) -> list[int]:
    with viewed(run.url, None) as (view, _):
        return [one.number for one in view.best_trials(1)]


def over(run: Run) -> list[int]:
    """Return the numbers of trials that are shown to be over the budget."""
    with viewed(run.url, None) as (view, _):
        trials = view.get_all_trials(1)
        legacy = {one.number for one in trials if max(one.system_attrs["constraints"]) > 0}
        assert legacy == {one.number for one in trials if max(one.constraints.values()) > 0}
        assert legacy == {
            one.number for one in trials if one.user_attrs["inside the budget"] != "yes"
        }
    reported = gather(find_listed(str(run.folder), None)).trials
    assert legacy == {one.number for one in reported if one.fate == "infeasible"}
    return sorted(legacy)


def test_what_is_over_its_limit_is_told_and_is_not_the_best(run: Run) -> None:
    run.add(trial(1, 0.3), trial(2, 0.1, over=0.2), trial(3, 0.2))
    assert over(run) == [1]
    assert best(run) == [2]
    with viewed(run.url, None) as (view, _):
        assert view.get_best_trial(1).number == 2
        told = view.get_all_trials(1)[1].user_attrs["inside the budget"]
        assert told == "no: latency@fake is over by 20.0%"


def test_a_limit_that_was_lowered_counts_for_earlier_trials_too(run: Run) -> None:
    run.add(trial(1, 0.1, latency=9.0), trial(2, 0.2, latency=7.0))
    assert (over(run), best(run)) == ([], [0])
    run.tell({TIGHTENED: {"limits": {LATENCY: 0.8}, "trials": 9}})
    assert (over(run), best(run)) == ([0], [1])


def test_what_was_measured_counts_more_than_what_was_priced(run: Run) -> None:
    run.add(trial(1, 0.1), trial(2, 0.2), trial(3, 0.3, over=0.2))
    slow = {LATENCY: {"over": True, "by": 0.04, "text": "median 10.4 ms"}}
    fast = {LATENCY: {"over": False, "by": -0.02, "text": "median 9.8 ms"}}
    run.tell({MEASURED: {policy(1).fingerprint: slow, policy(3).fingerprint: fast}})
    assert (over(run), best(run)) == ([0], [1])
    with viewed(run.url, None) as (view, _):
        note = view.get_study_system_attrs(1)["dashboard:1:note_str:0"]
    assert "Over the budget" in note
    assert "median 10.4 ms" in note


def test_along_a_front_the_widest_limit_that_was_measured_counts(tmp_path: Path) -> None:
    run = Run(tmp_path / "front", pareto=LATENCY)
    run.add(trial(1, 0.1), trial(2, 0.2), trial(3, 0.3))

    def measured(by: float) -> dict[str, Any]:
        return {LATENCY: {"over": by > 0, "by": by, "text": f"{by:+.0%}"}}

    slow = {policy(1).fingerprint: measured(0.3), policy(2).fingerprint: measured(0.2)}
    run.tell({f"{MEASURED} at 25%": slow})
    run.tell({f"{MEASURED} at 50%": {policy(2).fingerprint: measured(-0.1)}})
    assert (over(run), best(run)) == ([0], [1])
    with viewed(run.url, None) as (view, _):
        assert not [name for name in view.get_all_studies()[0].user_attrs if MEASURED in name]


def test_without_any_trial_inside_there_is_no_best_one(run: Run) -> None:
    run.add(trial(1, 0.1, over=0.5))
    assert best(run) == []
    with viewed(run.url, None) as (view, _):
        assert view.get_best_trial(1).number == 0, "the dashboard asks for one"
        note = view.get_study_system_attrs(1)["dashboard:note_str:0"]
    assert "No trial is inside the budget so far" in note


def test_of_a_finished_run_the_best_is_what_was_returned(run: Run) -> None:
    run.add(trial(1, 0.1), trial(2, 0.2), trial(3, 0.3))
    run.recover(1, 0.3, quality=0.89)
    run.recover(2, 0.4)
    run.recover(3, 0.5)
    assert best(run) == [0], "it is not finished"
    with closing(Database.open(run.url)) as database:
        Runs(database).finish(run.id, {"folder": str(run.folder), "host": "here"})
    assert best(run) == [1]
    with viewed(run.url, None) as (view, _):
        notes = view.get_study_system_attrs(1)
    assert "**Returned**: [trial 1]" in notes["dashboard:note_str:0"]
    assert notes["dashboard:2:note_str:0"].startswith("# Returned; Finalist, recovered")
    assert notes["dashboard:1:note_str:0"].startswith("# Best score; Finalist, recovered")


def test_of_two_objectives_the_best_are_the_front_of_what_is_inside(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "theirs.db")
    study = optuna.create_study(storage=url, directions=["minimize", "maximize"])
    for values, excess in [((1, 1), 0), ((2, 2), 0), ((2, 1), 0), ((0, 9), 1), ((1, 1), 0)]:
        study.add_trial(create_trial(values=values, constraints={"limit": excess}))
    with viewed(url, None) as (view, _):
        assert [one.number for one in view.best_trials(1)] == [0, 1, 4]


def test_parameters_are_shares_that_are_removed(run: Run) -> None:
    run.add(trial(2, 0.1))
    with viewed(run.url, None) as (view, _):
        (shown,) = view.get_all_trials(1)
        assert shown.params == {"u: sparsity": 0.25, "u: method": "channel.l2"}
        assert shown.distributions.keys() == shown.params.keys()
        assert shown.user_attrs["macs"] == 98
        assert view.get_trial(shown._trial_id).params == shown.params


def test_names_of_others_are_kept_and_are_never_html(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "theirs.db")
    study = optuna.create_study(storage=url, study_name=HOSTILE)
    params = {f"level:{HOSTILE}": 3, "lr\n": 1}
    drawn: dict[str, BaseDistribution] = {name: IntDistribution(0, 9) for name in params}
    told = {"outcome": HOSTILE, HOSTILE: 1}
    study.add_trial(create_trial(value=1, params=params, distributions=drawn, user_attrs=told))
    with viewed(url, None) as (view, _):
        (found,) = view.get_all_studies()
        (shown,) = view.get_all_trials(found._study_id)
        assert "<" not in found.study_name
        assert view.get_study_id_from_name(found.study_name) == found._study_id
        names = [*shown.params, *shown.user_attrs]
        assert list(shown.params.values()) == [3, 1]
        assert not any("<" in name or "\n" in name for name in names)
        notes = [v for k, v in found.system_attrs.items() if "note_str" in k]
        assert len(notes) == 2
        assert not any(re.search(r"(?<!\\)<", note) for note in notes)


def test_files_of_the_result_and_policies_are_artifacts(run: Run, tmp_path: Path) -> None:
    (run.folder / POLICY).write_text("{}")
    (tmp_path / "secret").write_text("secret")
    (run.folder / "report.md").symlink_to(tmp_path / "secret")
    run.add(trial(2, 0.1))
    with viewed(run.url, None) as (view, store):
        told = view.get_study_system_attrs(1)
        found = [json.loads(v) for k, v in told.items() if k.startswith("artifacts:")]
        assert [one["filename"] for one in found] == [PAGE, POLICY]
        with store.open_reader(found[1]["artifact_id"]) as content:
            assert content.read() == b"{}"
        with store.open_reader(found[0]["artifact_id"]) as content:
            assert b"<title>" in content.read(), "there is none yet, so one is made"
        (own,) = [json.loads(v) for k, v in told.items() if k.startswith("dashboard:artifacts:1:")]
        with store.open_reader(own["artifact_id"]) as content:
            assert json.loads(content.read()) == policy(2).to_dict()
        with pytest.raises(PermissionError):
            store.remove(own["artifact_id"])
        assert own["artifact_id"] in told["dashboard:1:note_str:0"]


def test_notes_that_people_wrote_stay(run: Run) -> None:
    run.add(trial(2, 0.1))
    study = open_study(run.url, STUDY)
    theirs: dict[str, Any] = {
        "dashboard:note_ver": 3,
        "dashboard:note_str:0": "look ",
        "dashboard:note_str:1": "here",
    }
    for name, value in theirs.items():
        study._storage.set_study_system_attr(study._study_id, name, value)
    close_study(study)
    with viewed(run.url, None) as (view, _):
        told = view.get_study_system_attrs(1)
    assert told["dashboard:note_str:0"].endswith("look here")
    assert told["dashboard:note_str:0"].startswith("# night")
    assert (told["dashboard:note_ver"], told["dashboard:note_str:1"]) == (4, "")


def test_figures_are_those_of_the_report_and_are_made_once(run: Run) -> None:
    run.add(trial(1, 0.3), trial(2, 0.1, over=0.2))
    with viewed(run.url, None) as (view, _):
        told = view.get_study_system_attrs(1)
        found = {k: json.loads(v) for k, v in told.items() if k.startswith("dashboard:plot_data:")}
        names = [key.split(":")[2] for key in found]
        assert names == ["front-0", "history", "spent"]
        shown = {trace["name"] for trace in found["dashboard:plot_data:history:0"]["data"]}
        assert {"scored", "over the budget"} <= shown
        again = view.get_study_system_attrs(1)
        assert all(again[key] == told[key] for key in found)


def test_what_changes_is_seen_and_what_does_not_is_worked_out_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprune.reporting.dashboard.view._FRESH", 0.0)
    run.add(trial(1, 0.3))
    with viewed(run.url, None) as (view, _):
        before = view.shown(1)
        (first,) = view.get_all_trials(1, deepcopy=False)
        assert view.shown(1) is before
        run.add(trial(2, 0.2))
        assert view.shown(1) is not before
        assert [one.number for one in view.get_all_trials(1)] == [0, 1]
        assert view.get_all_trials(1, deepcopy=False)[0] is first
        assert view.get_all_trials(1, deepcopy=True)[0] is not first
        run.tell({TIGHTENED: {"limits": {LATENCY: 0.1}, "trials": 9}})
        (again, _) = view.get_all_trials(1, deepcopy=False)
        assert again.user_attrs["inside the budget"].startswith("no")


@pytest.fixture
def view(run: Run) -> Iterator[View]:
    run.add(trial(2, 0.1))
    with viewed(run.url, None) as (found, _):
        yield found


CHANGES = [
    ("create_new_study", ([],)),
    ("delete_study", (1,)),
    ("set_study_user_attr", (1, "a", 1)),
    ("set_study_system_attr", (1, "a", 1)),
    ("create_new_trial", (1,)),
    ("set_trial_param", (1, "a", 1.0, IntDistribution(0, 1))),
    ("set_trial_state_values", (1, TrialState.FAIL)),
    ("set_trial_intermediate_value", (1, 1, 1.0)),
    ("set_trial_user_attr", (1, "a", 1)),
    ("set_trial_system_attr", (1, "a", 1)),
]


@pytest.mark.parametrize(("name", "given"), CHANGES, ids=[name for name, _ in CHANGES])
def test_nothing_can_be_changed(view: View, name: str, given: tuple[Any, ...]) -> None:
    with pytest.raises(ReadOnlyError):
        getattr(view, name)(*given)


def test_only_one_study_is_shown_where_that_is_asked_for(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "theirs.db")
    for name in ("one", "two"):
        optuna.create_study(storage=url, study_name=name).add_trial(create_trial(value=1))
    with viewed(url, "two") as (view, _):
        assert [one.study_name for one in view.get_all_studies()] == ["two"]
        with pytest.raises(KeyError):
            view.get_trial(1)
