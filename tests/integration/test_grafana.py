"""The SQL of every Grafana panel, on a real PostgreSQL with real searches in it."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import accumulate
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import Connection, create_engine, text

from autoprune.core.policy import Choice, Policy
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.ledger import Ledger
from autoprune.storage.own_trials import AGENT
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.runs import Runs
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import ABANDONED
from tests.integration.grafana_boards import BOARDS, Grafana, Rows
from tests.integration.grafana_searches import AGAIN, FIRST, FRONT, SHORT, TRIALS, World, searched

LIMITS = "over and under"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with searched(tmp_path_factory.mktemp("grafana")) as found:
        yield found


@pytest.fixture
def connection(world: World) -> Iterator[Connection]:
    engine = create_engine(world.url)
    with engine.connect() as found:
        found.execute(text("SET TIME ZONE 'Asia/Tokyo'"))  # no panel depends on it
        found.commit()
        yield found
    engine.dispose()


@pytest.fixture
def one(connection: Connection) -> Callable[[str], dict[str, Rows]]:
    """Return what the dashboard of one run shows of it."""
    return Grafana(connection, "search").all


@pytest.fixture
def every(world: World, connection: Connection) -> dict[str, Rows]:
    """Return what the dashboard of all runs shows of the four."""
    return Grafana(connection, "searches").all(*TRIALS)


def rows_of(rows: Rows, run: str) -> dict[str, Any]:
    """Return the one row of a table that is about a run."""
    (found,) = [row for row in rows if row["run"] == run]
    return found


def count(rows: Rows, metric: str) -> int:
    return sum(row["evaluations"] for row in rows if row["metric"] == metric)


def test_a_name_that_reads_like_sql_is_a_name(
    connection: Connection, one: Callable[[str], dict[str, Rows]]
) -> None:
    assert set(TRIALS) <= set(Grafana(connection, "search").runs())
    assert len(one(FIRST)["Best trials"]) > len(one(SHORT)["Best trials"]) > 0


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("value", ["0", "", "0) OR (1=1", "') OR ('1'='1", '"'])
def test_of_no_run_nothing_is_shown(connection: Connection, name: str, value: str) -> None:
    grafana = Grafana(connection, name.removeprefix("grafana/"))
    shown = grafana.of_values([value])
    kinds = {panel["title"]: panel["type"] for panel in grafana.panels}
    assert {title for title, rows in shown.items() if rows} == {
        title for title, kind in kinds.items() if kind == "stat"
    }
    assert all(set(row.values()) == {0} for rows in shown.values() for row in rows)


@pytest.mark.parametrize("run", [FIRST, AGAIN, SHORT, FRONT])
def test_qualities_are_those_of_trials_and_finalists(
    world: World, one: Callable[[str], dict[str, Rows]], run: str
) -> None:
    shown = one(run)["Quality on the search split"]
    expected = [("scored", t.user_attrs["quality"]) for t in world.trials(run, "COMPLETE")]
    done = [e for e in world.finalists(run) if e.outcome == "recovered"]
    expected += [("finalist", e.quality) for e in done]
    assert sorted((row["metric"], row["quality"]) for row in shown) == sorted(expected)
    assert done
    times = [row["time"] for row in shown]
    assert times == sorted(times)
    times_of = (t.datetime_complete for t in world.trials(run, "COMPLETE"))
    ends = {one.astimezone() for one in times_of if one is not None}
    assert {row["time"] for row in shown if row["metric"] == "scored"} == ends


@pytest.mark.parametrize("run", [FIRST, AGAIN])
def test_the_best_score_so_far_is_that_of_the_whole_run(
    world: World, connection: Connection, run: str
) -> None:
    scores = [t.values[0] for t in world.trials(run, "COMPLETE")]
    shown = Grafana(connection, "search").all(run)["Best score so far"]
    assert [row["best score"] for row in shown] == list(accumulate(scores, min))
    after = shown[scores.index(min(scores))]["time"] + timedelta(microseconds=1)
    assert after <= shown[-1]["time"], "the best trial is not the last one"
    late = Grafana(connection, "search", since=after).all(run)["Best score so far"]
    assert {row["best score"] for row in late} == {min(scores)}


def test_scores_that_another_run_paid_for_are_shown(
    world: World, one: Callable[[str], dict[str, Rows]], every: dict[str, Rows]
) -> None:
    with Database.open(world.url) as database:
        own = database.evaluations(world.run(AGAIN).id)
    assert {e.outcome.split(":")[0] for e in own} <= {"recovered", "outrun"}
    trials = world.trials(AGAIN)
    assert len(trials) == TRIALS[AGAIN]
    assert count(every["Evaluations"], AGAIN) == TRIALS[AGAIN]
    best = min(world.trials(AGAIN, "COMPLETE"), key=lambda t: t.values[0])
    assert one(AGAIN)["Best trials"][0]["trial"] == best.number
    assert rows_of(every["Best by run"], AGAIN)["trial"] == best.number
    work = [row["sample forwards"] for row in every["Work"] if row["metric"] == AGAIN]
    assert sum(work) == pytest.approx(sum(e.sample_forwards for e in own))


@pytest.mark.parametrize("run", [FIRST, AGAIN, SHORT, FRONT])
def test_finalists_are_the_run_s_own_the_returned_one_first(
    world: World, one: Callable[[str], dict[str, Rows]], every: dict[str, Rows], run: str
) -> None:
    shown, stored = one(run)["Finalists"], world.finalists(run)
    assert sorted(row["outcome"] for row in shown) == sorted(e.outcome for e in stored)
    done = [row for row in shown if row["outcome"] == "recovered"]
    assert shown[: len(done)] == sorted(done, key=lambda row: (-row["quality"], row["loss"]))
    assert all(row["quality"] is not None and row["steps"] for row in shown)
    if run != FRONT:
        returned = world.result(run)["pruned"]["quality_search"]
        best = rows_of(every["Best by run"], run)["quality of the best finalist"]
        assert shown[0]["quality"] == best == pytest.approx(returned)


def test_what_all_runs_came_to(world: World, every: dict[str, Rows]) -> None:
    assert every["Runs"] == [{"running": 0, "finished": 4, "stopped": 0}]
    assert every["Agents"] == [{"alive": 0, "silent": 0}]
    assert set(every["Queue"][0].values()) == {0}, "the short run is finished"
    for run in TRIALS:
        states = Counter(t.state for t in world.trials(run))
        told = rows_of(every["Trials by run"], run)
        assert told["asked for"] == TRIALS[run]
        assert told["scored"] == states[TrialState.COMPLETE]
        assert told["stopped early"] == states[TrialState.PRUNED]
        assert told["failed"] == states[TrialState.FAIL]
        assert told["being scored"] == told["left behind"] == 0
        assert count(every["Evaluations"], run) == states.total()
    assert states.total() <= TRIALS[FRONT]
    looks = {row["run"]: row["looks for"] for row in every["Trials by run"]}
    assert looks == {**dict.fromkeys(TRIALS, "the best model"), FRONT: "a front"}
    assert len(world.trials(SHORT)) < TRIALS[SHORT]
    assert world.result(AGAIN)["search"]["evaluations"] == TRIALS[AGAIN]


def test_best_trials_are_told_where_scores_can_be_compared(
    world: World, one: Callable[[str], dict[str, Rows]], every: dict[str, Rows]
) -> None:
    assert {row["run"] for row in every["Best by run"]} == {FIRST, AGAIN, SHORT}
    assert one(FRONT)["Best trials"] == one(FRONT)["Best score so far"] == []
    trials = sorted(world.trials(FIRST, "COMPLETE"), key=lambda t: (t.values[0], t.number))
    shown = one(FIRST)["Best trials"]
    assert [row["trial"] for row in shown] == [t.number for t in trials]
    best, dense = rows_of(every["Best by run"], FIRST), world.result(FIRST)["dense"]
    costs = trials[0].user_attrs["costs"]
    assert best["score"] == trials[0].values[0]
    assert best["quality"] == trials[0].user_attrs["quality"]
    assert best["MACs of dense"] == shown[0]["MACs of dense"] == costs["macs"] / dense["macs"]
    assert best["parameters of dense"] == costs["params"] / dense["params"]
    assert 0 < best["MACs of dense"] <= 0.5


def test_a_search_for_the_smallest_model_has_no_best_score(
    world: World, connection: Connection
) -> None:
    name = "smallest"
    with Database.open(world.url) as database:
        config = {"trials": 3, "tolerance": "lowest macs within 1 point"}
        database.start_run(name, config, "model", "data")
    study = open_study(world.url, name, costs=["macs"])
    study.add_trial(create_trial(values=[1.0, 7.0], user_attrs={"outcome": "scored"}))
    close_study(study)
    every = Grafana(connection, "searches").all(name)
    assert every["Best by run"] == []
    (told,) = every["Trials by run"]
    assert (told["looks for"], told["scored"]) == ("the smallest model", 1)
    single = Grafana(connection, "search").all(name)
    assert single["Best trials"] == single["Best score so far"] == []


def test_failures_are_told_with_their_reason(
    world: World, one: Callable[[str], dict[str, Rows]], every: dict[str, Rows]
) -> None:
    failed = {run: world.trials(run, "FAIL") for run in TRIALS}
    stopped = {run: world.trials(run, "PRUNED") for run in TRIALS}
    assert failed[FIRST]
    assert failed[AGAIN]
    assert count(every["Failed and stopped early"], "failed") == sum(map(len, failed.values()))
    assert count(every["Failed and stopped early"], "stopped early") == sum(
        map(len, stopped.values())
    )
    for run in TRIALS:
        shown = [(row["trial"], row["why"]) for row in one(run)["Failures"]]
        assert sorted(shown) == sorted((t.number, t.user_attrs["outcome"]) for t in failed[run])
        assert all("this width cannot be trained" in why for _, why in shown)
    last = every["Last failures"]
    assert Counter(row["run"] for row in last) == Counter(
        {run: len(own) for run, own in failed.items() if own}
    )
    assert last == sorted(last, key=lambda row: row["when"], reverse=True)


def test_predictions_and_decisions_are_those_of_the_run(
    world: World, one: Callable[[str], dict[str, Rows]], every: dict[str, Rows]
) -> None:
    for run in (FIRST, AGAIN):
        with Database.open(world.url) as database:
            ledger = Ledger(database, world.run(run).id).entries()
        regrets = [e.score_before - e.score_after for e in ledger if e.score_after is not None]
        shown = one(run)["Decisions examined"]
        assert sorted(r["regret"] for r in shown if r["regret"] is not None) == sorted(regrets)
        assert len(shown) == len(ledger)
        told = [t for t in world.trials(run) if "prequential" in t.user_attrs]
        worth = one(run)["What predictions were worth"]
        assert [row["trial"] for row in worth] == sorted((t.number for t in told), reverse=True)
        scores = {t.number: t.values[0] for t in told if t.state == TrialState.COMPLETE}
        assert {r["trial"]: r["score"] for r in worth if r["score"] is not None} == scores
        of_run = rows_of(every["Predictor by run"], run)
        assert of_run["predicted"] == worth[0]["predicted"]
        assert of_run["spared"] == world.result(run)["search"]["predictions"]["spared"]
    examined = {row["run"]: row["examined"] for row in every["Rollback by run"]}
    assert examined[FIRST] > 0


def test_what_nobody_works_on_is_told_apart(world: World, connection: Connection) -> None:
    gone = "0" * 32
    with Database.open(world.url) as database:
        agents = Agents(database)
        for name, trials in {"worked on": 9, "left": 7, "ended": 5}.items():
            run = database.start_run(name, {"trials": trials}, "model", "data")
            agent = agents.join(run, "node-3 boot", "4711 begun") if name == "worked on" else gone
            study = open_study(world.url, name)
            for number, owner in enumerate([agent, gone, agent]):
                trial = study.ask()
                trial.set_user_attr(AGENT, owner)
                if number == 2:
                    study.tell(trial, 1.0)
            close_study(study)
            if name == "worked on":
                agents.beat(agent, {"stage": "search", "done": 1, "total": 9})
            if name == "ended":
                Runs(database).finish(run, {"folder": "here"})
        silent = agents.join(run, "node-4 boot", "12 begun")
    connection.execute(
        text("UPDATE ap_agent SET beaten_at = now() - interval '2 minutes' WHERE id = :id"),
        {"id": silent},
    )
    connection.commit()
    shown = Grafana(connection, "searches").all("worked on", "left", "ended")
    assert shown["Queue"] == [{"being scored": 1, "still to come": 7, "waiting for an agent": 6}]
    assert shown["Runs"] == [{"running": 1, "finished": 1, "stopped": 1}]
    assert shown["Agents"] == [{"alive": 1, "silent": 1}]
    known = {row["process"]: row for row in shown["Agents by run"]}
    assert (known["4711"]["machine"], known["4711"]["run"]) == ("node-3", "worked on")
    assert [known["4711"][name] for name in ("alive", "stage", "done", "of")] == [
        *(True, "search", 1, 9)
    ]
    assert not known["12"]["alive"]
    behind = {
        row["run"]: (row["being scored"], row["left behind"]) for row in shown["Trials by run"]
    }
    assert behind == {"worked on": (1, 1), "left": (0, 2), "ended": (0, 2)}


def test_what_is_over_the_budget_or_has_no_number_is_no_best(
    world: World, one: Callable[[str], dict[str, Rows]], connection: Connection
) -> None:
    policies = [Policy({"inner": Choice("channel.l1", share)}) for share in (0.1, 0.2, 0.3, 0.4)]
    with Database.open(world.url) as database:
        run = database.start_run(LIMITS, {"trials": 4, "pareto": None}, "model", "data")
        figures = [(0.7, 0.1), (0.8, 0.4), (0.9, 0.2), (0.8, 0.3)]  # quality, loss
        for policy, (quality, loss) in zip(policies, figures, strict=True):
            key = EvaluationKey("model", "data", policy.fingerprint, "way")
            found = Evaluation(policy, "recovered", loss, quality, 1.0, 1.0)
            database.record_evaluation(run, key, found)
    study = open_study(world.url, LIMITS)
    slow = {"latency": {"over": True, "by": 0.2, "text": "slow"}}
    study.set_user_attr("measured", {policies[2].fingerprint: slow})
    for score, over in ((0.1, 0.2), (math.inf, 0.0), (0.5, 0.0), (0.7, -0.1)):
        told = {"outcome": "scored", "quality": None}
        study.add_trial(create_trial(value=score, user_attrs=told, constraints={"macs": over}))
    early: dict[str, Any] = {"outcome": "stopped: early stop", "prequential": {"count": 3}}
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.01, user_attrs=early))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"outcome": ABANDONED}))
    close_study(study)
    shown, every = one(LIMITS), Grafana(connection, "searches").all(LIMITS)
    assert [row["trial"] for row in shown["Best trials"]] == [2, 3]
    assert [row["best score"] for row in shown["Best score so far"]] == [0.5, 0.5]
    qualities = [row["quality"] for row in shown["Quality on the search split"]]
    assert sorted(qualities) == [0.7, 0.8, 0.8, 0.9]
    assert [row["loss"] for row in shown["Finalists"]] == [0.2, 0.3, 0.4, 0.1]
    (best,) = every["Best by run"]
    assert (best["trial"], best["score"], best["quality"]) == (2, 0.5, None)
    assert best["quality of the best finalist"] == 0.8, "the better one was measured too slow"
    assert shown["Failures"] == every["Last failures"] == []
    assert count(every["Evaluations"], LIMITS) == 5, "what was given back is none"
    (fate,) = every["Failed and stopped early"]
    assert (fate["metric"], fate["evaluations"]) == ("stopped early", 1)
    (worth,) = shown["What predictions were worth"]
    assert (worth["trial"], worth["predicted"], worth["score"]) == (4, 3, None)
