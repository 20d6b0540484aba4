"""The SQL of every Grafana panel, on a real PostgreSQL with a real search in it."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Connection, create_engine, text

from autoprune._resources import names, resource
from autoprune.core.policy import Choice, Policy
from autoprune.storage.agents import Agents
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation, EvaluationKey
from autoprune.storage.shared import shared_database

Run = Callable[..., tuple[int, str, str]]
Rows = Sequence[Mapping[str, Any]]
BOARDS = [name for name in names("dashboards", ".json") if name.startswith("grafana/")]
SPAN = "BETWEEN now() - interval '1 day' AND now()"


def panels(board: str) -> list[dict[str, Any]]:
    content = json.loads(resource("dashboards", f"{board}.json").read_text(encoding="utf-8"))
    return [one for one in content["panels"] if one["type"] != "row"]


def expanded(sql: str, runs: Sequence[str]) -> str:
    """Return SQL as Grafana sends it, with its macros and variables filled in."""
    quoted = ",".join("'" + run.replace("'", "''") + "'" for run in runs)
    sql = re.sub(r"\$__timeFilter\(([^()]+)\)", rf"\1 {SPAN}", sql)
    group = r"floor(extract(epoch from \1)/60)*60"
    sql = re.sub(r"\$__timeGroupAlias\(([^(),]+),\s*\$__interval\)", rf'{group} AS "time"', sql)
    sql = sql.replace("$run", quoted)
    assert "$" not in sql
    return sql


def asked(connection: Connection, panel: Mapping[str, Any], runs: Sequence[str]) -> Rows:
    (target,) = panel["targets"]
    sql = expanded(target["rawSql"], runs).replace(":", r"\:").replace(r"\:\:", "::")
    return [dict(row) for row in connection.execute(text(sql)).mappings()]


@pytest.fixture
def search(
    postgres: str, project: Path, monkeypatch: pytest.MonkeyPatch, run_autoprune: Run
) -> Path:
    """Search on a server, with a policy that fails; return the folder of the result."""
    monkeypatch.setenv("AUTOPRUNE_DATABASE", postgres)
    file = project / "search.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["trials"] = 16
    file.write_text(yaml.safe_dump(settings))
    code, _, err = run_autoprune("search", "search.yaml", "--name", "night's work", "--quiet")
    assert code == 0, err
    return project / "run"


def test_every_panel_gets_an_answer_and_it_is_true(
    postgres: str, search: Path, run_autoprune: Run
) -> None:
    result = json.loads((search / "result.json").read_text())
    with shared_database() as database:
        run = database.find_run("night's work")
        assert run is not None
        policy = Policy({"inner": Choice("channel.l1", 0.123)})
        key = EvaluationKey(run.model_fp, run.data_fp, policy.fingerprint, "way")
        lost = Evaluation(policy, "failed: it cost a worker", None, None, 1.0, 1.0)
        database.record_evaluation(run.id, key, lost)
        agent = Agents(database).join(run.id, "node-3 boot", "4711 begun")
        Agents(database).beat(agent, {"stage": "search", "done": 3, "total": 16})
        stored = database.evaluations(run.id)
        ledger = Ledger(database, run.id).entries()
    engine = create_engine(postgres)
    found: dict[tuple[str, str], Rows] = {}
    with engine.connect() as connection:
        for board in BOARDS:
            for panel in panels(board):
                found[board, panel["title"]] = asked(connection, panel, ["night's work", "other"])
                assert asked(connection, panel, ["nobody's"]) in ([], _nothing(panel, found)), (
                    panel
                )
    engine.dispose()
    overview = {title: rows for (board, title), rows in found.items() if "searches" in board}
    single = {title: rows for (board, title), rows in found.items() if "searches" not in board}
    assert overview["Runs"] == [{"running": 1, "finished": 0, "stopped": 0}]
    assert overview["Agents"] == [{"alive": 1, "silent": 0}]
    (shown,) = overview["Agents by run"]
    assert (shown["machine"], shown["process"], shown["alive"]) == ("node-3", "4711", True)
    assert (shown["stage"], shown["done"], shown["of"]) == ("search", 3, 16)
    (failure,) = overview["Last failures"]
    assert failure["why"] == "failed: it cost a worker"
    assert single["Failures"][0]["why"] == failure["why"]
    assert overview["Queue"] == [{"being scored": 0, "still to come": 0}]
    assert sum(row["evaluations"] for row in overview["Evaluations"]) == len(stored)
    assert {row["metric"] for row in overview["Evaluations"]} == {"night's work"}
    (trials,) = overview["Trials by run"]
    assert (trials["asked for"], trials["scored"] + trials["stopped early"]) == (16, 16)
    (best,) = overview["Best by run"]
    scores = [one.score for one in stored if one.outcome == "scored"]
    assert best["score"] == pytest.approx(min(one for one in scores if one is not None))
    assert best["quality of the best finalist"] == pytest.approx(
        result["pruned"]["quality_search"]
    )
    assert 0 < best["MACs of dense"] <= 0.5
    assert single["Best trials"][0]["trial"] == best["trial"]
    finalists = [one for one in stored if one.outcome.startswith(("recovered", "outrun"))]
    assert len(single["Finalists"]) == len(finalists)
    examined = [one for one in ledger if one.outcome.name != "TOO_FAR"]
    assert len(single["Decisions examined"]) == len(ledger) > 0
    assert overview["Rollback by run"][0]["examined"] == len(examined)
    (predictor,) = overview["Predictor by run"]
    told = result["search"]["predictions"]
    assert predictor["spared"] == told["spared"]
    assert predictor["predicted"] > 0


def _nothing(panel: Mapping[str, Any], found: Mapping[tuple[str, str], Rows]) -> Rows:
    """Return the row of zeros that counts give."""
    rows = next(rows for (_, title), rows in found.items() if title == panel["title"])
    return [dict.fromkeys(row, 0) for row in rows[:1]] if panel["type"] == "stat" else []
