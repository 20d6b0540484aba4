"""Grafana dashboards that are shipped: their form, their variables, and no secrets."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from autoprune._resources import names, resource

Run = Callable[..., tuple[int, str, str]]
BOARDS = [name for name in names("dashboards", ".json") if name.startswith("grafana/")]


def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        resource("dashboards", f"{name}.json").read_text(encoding="utf-8")
    )
    return found


def lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Yield what a form does not know of something that went through it."""
    if isinstance(given, dict):
        for key, value in given.items():
            known = isinstance(kept, dict) and key in kept
            yield from lost(value, kept[key], f"{place}/{key}") if known else [f"{place}/{key}"]
    elif isinstance(given, list):
        pairs = zip(given, kept, strict=True)
        for at, (one, other) in enumerate(pairs):
            yield from lost(one, other, f"{place}/{at}")
    elif given != kept:
        yield f"{place}: {given!r} became {kept!r}"


def through_the_form(content: dict[str, Any]) -> Any:
    """Return a dashboard as Grafana's own types read and write it."""
    read = Dashboard.from_json(json.loads(json.dumps(content)))
    return json.loads(JSONEncoder().encode(read))


def test_there_are_dashboards() -> None:
    assert BOARDS == ["grafana/search", "grafana/searches"]


@pytest.mark.parametrize("name", BOARDS)
def test_it_has_the_form_that_grafana_publishes(name: str) -> None:
    content = board(name)
    assert list(lost(content, through_the_form(content))) == []


def test_what_is_not_of_that_form_would_be_found() -> None:
    content = board(BOARDS[0])
    content["panel"] = []
    content["panels"][1]["gridPos"]["z"] = 1
    assert list(lost(content, through_the_form(content))) == ["/panels/1/gridPos/z", "/panel"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_database_is_chosen_in_grafana_and_nothing_secret_is_told(name: str) -> None:
    content = board(name)
    source = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
    variables = {one["name"]: one for one in content["templating"]["list"]}
    assert variables["datasource"]["query"] == source["type"]
    assert variables["run"]["datasource"] == source
    assert "name AS __text, id AS __value" in variables["run"]["query"]  # no name gets into SQL
    for panel in content["panels"]:
        for one in (panel, *panel.get("targets", [])):
            assert panel["type"] == "row" or one["datasource"] == source
    assert not re.search(r"password|secret|://", json.dumps(content), re.IGNORECASE)


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = board(name)["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    places = [one["gridPos"] for one in panels]
    assert all(one["x"] + one["w"] <= 24 for one in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_only_reads(name: str) -> None:
    for panel in board(name)["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            sql = target["rawSql"]
            assert re.match(r"(SELECT|WITH)\b", sql)
            assert set(re.findall(r"[^ (]*\$\{?run\b[^ ),]*", sql)) == {"${run:sqlstring}"}
            assert ("$__timeFilter" in sql) == (target["format"] == "time_series")


def test_they_are_exported_as_they_are(run_autoprune: Run, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "grafana"
    code, out, err = run_autoprune("dashboards", "export", "grafana", "--to", str(folder))
    assert (code, err) == (0, "")
    written = [Path(line) for line in out.splitlines()]
    assert [path.name for path in written] == ["search.json", "searches.json"]
    for path in written:
        shipped = resource("dashboards", f"grafana/{path.name}")
        assert path.read_text() == shipped.read_text()


def test_they_are_listed(run_autoprune: Run) -> None:
    code, out, _ = run_autoprune("dashboards", "list", "--json")
    assert code == 0
    assert [one["name"] for one in json.loads(out)] == ["search", "searches"]
    assert "All runs of a database" in run_autoprune("dashboards", "list")[1]


def test_what_there_are_none_for_is_told(run_autoprune: Run, tmp_path: Path) -> None:
    code, _, err = run_autoprune("dashboards", "export", "kibana", "--to", str(tmp_path))
    assert code == 2
    assert "for 'grafana' only" in err


def test_a_folder_that_cannot_be_made_is_told(run_autoprune: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "in"
    code, _, err = run_autoprune("dashboards", "export", "grafana", "--to", str(folder))
    assert code == 2
    assert "cannot be made" in err
