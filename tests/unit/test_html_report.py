"""The page: it is one file, names cannot become markup or script, and every part is there."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from autoprune.agent.housing.listed import find_listed
from autoprune.artifacts.front import Front, FrontPoint, LeftOut
from autoprune.artifacts.goal import Goal
from autoprune.artifacts.result import LatencyCheck
from autoprune.errors import ArtifactError
from autoprune.report_api import report
from autoprune.reporting import html
from autoprune.reporting.citations import cited
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.gather import gather
from autoprune.reporting.html import render_html
from autoprune.reporting.page.compared import compared_charts
from autoprune.reporting.page.compared_table import compared_table
from autoprune.reporting.page.models import tiles_of
from autoprune.reporting.repeating import promise
from autoprune.reporting.reproduce import command
from autoprune.reporting.story import story_of
from autoprune.space.loader import load_space
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.models import RunRow
from benchmarks.report.made import make_run

HOSTILE = "</script><script>alert(1)</script>"
SESSION = {
    **{"runner": "local", "kind": "local", "workers": 2, "device": "cpu", "timeout": 90.0},
    "joined": False,
}
HELPER = {**SESSION, "workers": 7, "joined": True}
NAMES = (
    HOSTILE,
    '"><img src=x onerror=alert(1)>',
    "<a href='https://evil.example'>unit</a>",
    "{{ 7 * 7 }}",
    "a\u202eb\u2028c",
)


class Elements(HTMLParser):
    """Keeps what a browser would make of a page: elements with attributes, and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = [("", {})]
        self.scripts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "code", ""))

    def handle_data(self, data: str) -> None:
        if self.found[-1][0] == "script" and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing library, which is 5 MB to parse: what it draws a browser tests."""
    monkeypatch.setattr(html, "get_plotlyjs", lambda: "var Plotly = {};")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunEvidence:
    folder = tmp_path_factory.mktemp("runs") / "night"
    make_run(folder, 40, NAMES)
    return gather(find_listed(str(folder), None))


def hostile(run: RunEvidence) -> RunEvidence:
    """Return a run whose every text is hostile."""
    assert run.result is not None
    trials = [replace(one, said=HOSTILE, source=HOSTILE) for one in run.trials]
    result = run.result.model_copy(
        update={"metric": HOSTILE, "uncounted": [HOSTILE], "versions": {HOSTILE: HOSTILE}}
    )
    texts: dict[str, Any] = {"name": HOSTILE, "source": HOSTILE, "model_fp": HOSTILE}
    settings = {**run.settings, "sampler": HOSTILE, "budget": {HOSTILE: HOSTILE}}
    return replace(run, **texts, trials=trials, result=result, settings=settings)


@pytest.mark.parametrize("count", [1, 2])
def test_hostile_texts_stay_texts(run: RunEvidence, count: int) -> None:
    page = render_html([hostile(run)] * count)
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert "img" not in tags
    assert "alert(1)" not in "".join(code for kind, code in elements.scripts if kind == "code")
    assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
    links = [attrs.get("href") or "" for tag, attrs in elements.found if tag == "a"]
    assert all(link.startswith("#") for link in links)
    assert "49" not in re.findall(r"<td>(\d+)</td>", page), "no template in a name is filled in"
    assert "{{ 7 * 7 }}" in page


def test_figures_are_data_that_can_be_read(run: RunEvidence) -> None:
    elements = Elements(render_html([hostile(run)]))
    figures = [json.loads(text) for kind, text in elements.scripts if kind == "application/json"]
    assert len(figures) == 7
    shown = json.dumps(figures)
    assert "<script" not in shown, "plotly would take tags of a name for its own"
    assert "&lt;/script&gt;" in shown


def test_the_policy_lets_our_scripts_run_and_no_others(run: RunEvidence) -> None:
    elements = Elements(render_html([run]))
    policies = [a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a]
    assert len(policies) == 1
    policy = str(policies[0])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    codes = [code for kind, code in elements.scripts if kind == "code"]
    hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in codes]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes


def test_nothing_is_fetched(run: RunEvidence) -> None:
    elements = Elements(render_html([run]))
    sources = [a.get(n) for _, a in elements.found for n in ("src", "href", "srcset") if a.get(n)]
    assert all(str(one).startswith(("#", "data:")) for one in sources)


def test_the_same_run_gives_the_same_page(run: RunEvidence) -> None:
    assert render_html([run]) == render_html([run])


def test_an_unfinished_run_says_what_is_not_there(run: RunEvidence) -> None:
    begun = RunEvidence(
        name="new",
        state="stopped",
        begun=run.begun,
        settings={"budget": {"macs": "50%"}},
        missing=["It has no result yet."],
    )
    page = render_html([begun])
    for text in ("It has no result yet.", "no model was returned", "Nothing was scored yet"):
        assert text in page
    assert "No decision was examined." in page
    assert "No score was predicted." in page


def along_a_front(run: RunEvidence) -> RunEvidence:
    """Return a run whose model stands on a front twice, once with a third of the MACs."""
    assert run.result is not None
    result = run.result
    small = result.pruned.model_copy(
        update={"macs": result.dense.macs * 3 // 10, "quality_test": 0.7}
    )
    points = [
        FrontPoint(folder=f"point-{n}", limit=f"macs={n}0%", share=n / 10, pruned=pruned)
        for n, pruned in ((3, small), (5, result.pruned))
    ]
    front = Front(
        task=result.task,
        metric=result.metric,
        cost="macs",
        budget={},
        dense=result.dense,
        points=points,
        left_out=[LeftOut(limit="macs=40%", reason="no better")],
        search=result.search,
        versions=result.versions,
    )
    settings = {**run.settings, "pareto": "macs=30%..50%, 2 points"}
    own = replace(
        run, result=None, front=front, points=dict.fromkeys(("point-3", "point-5"), result)
    )
    return replace(own, settings=settings, source="search.yaml")


def test_a_front_shows_every_point(run: RunEvidence) -> None:
    own = along_a_front(run)
    page = render_html([own])
    assert all(text in page for text in ("point-3", "point-5", "No point at macs=40%: no better"))
    assert "2 models" in story_of(own).came
    assert "--pareto macs=30%..50% --points 2" in command(own)


def test_the_story_is_told_in_words(run: RunEvidence) -> None:
    told = story_of(run)
    assert told.asked == "Asked: the best model with at most 50% of the dense model's MACs."
    assert "top-1 is 75.50%; that of the dense model is 75.90% (-0.40 points)" in told.came
    assert told.trust.startswith("Its checks passed")
    assert promise(run).startswith("With the same versions, data, seed, device")
    assert told.cautions == ()


@pytest.mark.parametrize(
    ("budget", "pareto", "asked"),
    [
        (
            {"macs@visual": "50%", "latency@onnxruntime": "8ms"},
            None,
            "the best model with at most 50% of the dense model's MACs in visual and at most 8ms "
            "latency on onnxruntime.",
        ),
        (
            {"macs": "75%", "params": "60%"},
            "macs=25%..75%, 3 points",
            "models along a front of top-1 against macs=25%..75%, 3 points, with at most 60% of "
            "the dense model's parameters.",
        ),
        (
            {"macs": "80%"},
            "macs, 3 points",
            "models along a front of top-1 against macs, 3 points.",
        ),
    ],
)
def test_what_was_asked_names_every_limit(
    run: RunEvidence, budget: dict[str, str], pareto: str | None, asked: str
) -> None:
    settings = {**run.settings, "budget": budget, "pareto": pareto}
    assert story_of(replace(run, settings=settings)).asked == f"Asked: {asked}"


def test_what_speaks_against_a_result_is_said(run: RunEvidence) -> None:
    assert run.result is not None
    goal = Goal(
        max_drop=0.1,
        minimise="macs",
        drop_search=0.05,
        drop_test=0.4,
        standard_error=0.02,
        ended="narrow",
        trials=9,
        limits=[],
    )
    checks = run.result.checks.model_copy(update={"onnx_max_diff": None})
    changes: dict[str, Any] = {"goal": goal, "uncounted": ["fft"], "checks": checks, "undone": 0.1}
    dense = run.result.dense.model_copy(update={"quality_search": 0.183})
    changes["dense"] = dense
    doubtful = replace(run, result=run.result.model_copy(update=changes))
    said = " ".join(story_of(doubtful).cautions)
    assert "drops by 0.40 points, more than the 0.1 points" in said
    assert "not exported to ONNX" in said
    assert "nobody counts those of fft" in said
    assert "Fine-tuning lowered top-1 on the search split from" in said
    assert "to 10.00%, so the model is kept as it was cut" in said
    assert "better than the dense one (top-1 18.30% before)" in said


def test_runs_that_are_compared_say_what_was_asked_and_whether_it_held(run: RunEvidence) -> None:
    assert run.result is not None
    check = LatencyCheck(
        ratio=0.6, low=0.58, high=0.63, dense_ms=8.0, pruned_ms=4.8, pairs=9, busy=False
    )
    checks = run.result.checks.model_copy(update={"latency": {"fake": check}, "budget_met": False})
    settings = {**run.settings, "budget": {"macs": "50%", "latency@fake": "5ms"}, "seed": 7}
    timed = replace(
        run, settings=settings, result=run.result.model_copy(update={"checks": checks})
    )
    front = along_a_front(run)
    table = compared_table([timed, front, replace(front, front=None, points={}, state="stopped")])
    first, second, third = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert first["asked"] == "macs=50%, latency=5ms@fake"
    told = ("latency, fake (of dense)", "sampler", "seed", "checks")
    assert [first[name] for name in told] == ["4.8 ms (60.0%)", "budgeted", "7", "FAILED"]
    assert second["state"] == "finished, a front of 2 points"
    assert second["asked"] == "macs=30%..50%, 2 points"
    assert second["pruned"] == "70.00% to 75.50%"
    assert second["change"] == "-5.90 points to -0.40 points"
    assert second["MACs of dense"] == "30.0% to 50.0%"
    assert (second["params of dense"], second["checks"]) == ("48.0%", "passed")
    assert (third["asked"], third["pruned"], third["checks"]) == (second["asked"], "", "")


def test_several_limits_have_no_best_score(run: RunEvidence) -> None:
    front = along_a_front(run)
    drop = replace(
        run, result=None, settings={**run.settings, "tolerance": "lowest macs within 1 point"}
    )
    for own in (front, drop):
        assert "best score" not in {tile.label for tile in tiles_of(own)}
        assert "of several limits" in render_html([own])
    assert "best score so far" in {tile.label for tile in tiles_of(replace(run, result=None))}
    (shown,) = [one for one in compared_charts([run, drop, front]) if one.id == "all-history"]
    assert len(shown.figure.data) == 1
    assert "night, night" in shown.note
    assert "all-history" not in {one.id for one in compared_charts([drop, front])}


@pytest.mark.parametrize("source", ["my dir/search.yaml", ""])
def test_how_to_do_it_again_names_every_setting(run: RunEvidence, source: str) -> None:
    settings = {**run.settings, "tolerance": "lowest macs within 1 point", "warm_start": ["/r 1"]}
    settings |= {"recovery": {"finalists": 5, "distill": None}}
    settings["budget"] = {"macs": "50%", "latency@onnxruntime/threads=1": "75%"}
    settings |= {"recover": "train.py:recover", "space": {"description": "their own"}}
    text = command(replace(run, source=source, settings=settings, sessions=[SESSION, HELPER]))
    if source:
        assert text.startswith("autoprune search 'my dir/search.yaml' --budget macs=50%")
        assert "--budget latency=75%@onnxruntime/threads=1 " in text
        assert "--max-drop 1.0 --minimise macs --trials 40 --seed 0 --sampler budgeted" in text
        assert "--warm-start '/r 1' --runner local --workers 2 --timeout 90.0s" in text
    else:
        assert "autoprune.search(\n    model," in text
        assert "recovery=autoprune.Recovery(finalists=5)" in text
        assert "max_drop=1.0" in text
        assert "    workers=2,\n    timeout=90.0,\n" in text
        assert "    runner='local',\n" in text
        assert "    recover='train.py:recover',\n" in text
        assert "    space=space,  # an object: under 'All settings'\n" in text


def test_a_call_names_what_it_can_and_says_what_objects_were(run: RunEvidence) -> None:
    space = load_space("resnet").model_dump(mode="json", by_alias=True)
    settings = {**run.settings, "space": space, "recover": "__main__:train"}
    session = {**SESSION, "runner": "", "kind": "ray", "timeout": None}
    text = command(replace(run, settings=settings, sessions=[SESSION, session]))
    assert "    space='resnet',\n" in text
    assert "    recover=recover,  # __main__:train\n" in text
    assert "    runner=runner,  # an object of kind ray\n" in text
    assert "timeout" not in text, "the last session had none"
    assert compile(text, "call", "exec")


@pytest.mark.parametrize(
    ("settings", "session", "why"),
    [
        ({}, {}, ""),
        ({"budget": {"latency@onnxruntime": "8ms"}}, {}, "no two measurements"),
        ({}, {"timeout": 90.0}, "before the timeout (90 s)"),
        ({}, {"workers": 2}, "the order of scores"),
        ({}, {"workers": "auto"}, "the order of scores"),
        ({}, {"joined": True}, "the order of scores"),
        ({}, {"device": "cuda"}, "on a GPU"),
        ({"recover": "train.py:recover"}, {}, "train.py:recover"),
    ],
)
def test_the_same_model_is_promised_where_it_comes(
    run: RunEvidence, settings: dict[str, Any], session: dict[str, Any], why: str
) -> None:
    alone = {**SESSION, "workers": 1, "timeout": None}
    told = promise(
        replace(run, settings={**run.settings, **settings}, sessions=[{**alone, **session}, alone])
    )
    assert ("it gives the same model." in told) is (not why)
    assert ("it may give another model" in told) is bool(why)
    assert why in told


def test_of_older_runs_the_promise_names_its_conditions(run: RunEvidence) -> None:
    older = replace(run, sessions=())
    assert "was not written down" in promise(older)
    assert promise(older) in render_html([older])


def test_the_command_writes_beside_the_run_or_where_it_is_told(
    run_autoprune: Any, tmp_path: Path
) -> None:
    make_run(tmp_path / "a", 4, ("u",))
    make_run(tmp_path / "b", 4, ("u",), seed=1)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    code, out, _ = run_autoprune("report", a, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["file"] == str(tmp_path / "a" / "report.html")
    assert told["bytes"] == (tmp_path / "a" / "report.html").stat().st_size
    both = str(tmp_path / "both.html")
    assert run_autoprune("report", a, b, "--out", both)[:2] == (0, f"{both}\n")
    assert "2 runs compared" in Path(both).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nope",), "There is no run 'nope'"),
        (("a", "a"), "--out report.html"),
        (("a", "--out", "mine.txt"), "must end with .html"),
        (("a", "--out", "no/where.html"), "There is no folder 'no'"),
        (("a", "--out", "foreign.html"), "is no report of autoprune"),
    ],
)
def test_what_cannot_be_written_is_said(
    run_autoprune: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    make_run(tmp_path / "a", 4, ("u",))
    (tmp_path / "foreign.html").write_text("<p>mine</p>")
    monkeypatch.chdir(tmp_path)
    code, out, err = run_autoprune("report", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert (tmp_path / "foreign.html").read_text() == "<p>mine</p>"


@pytest.mark.parametrize(
    ("column", "key", "value"),
    [
        ("kept", "checks", [1]),
        ("kept", "latency", {"onnxruntime": {}}),
        ("config", "pareto", "macs"),
        ("config", "tolerance", "lowest macs within abc points"),
    ],
)
def test_a_damaged_run_is_told_in_words(tmp_path: Path, column: str, key: str, value: Any) -> None:
    make_run(tmp_path / "a", 4, ("u",))
    with Database.open(sqlite_url(tmp_path / "a" / "autoprune.db")) as database:
        with database.transaction() as session:
            row = session.scalars(select(RunRow)).one()
            setattr(row, column, getattr(row, column) | {key: value})
    with pytest.raises(ArtifactError, match="holds what autoprune did not write"):
        report(tmp_path / "a", tmp_path / "a.html", database=tmp_path / "none.db")
    assert not (tmp_path / "a.html").exists()


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("a", "b"):
        make_run(tmp_path / place / "run", 4, ("u",))
    both = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    page = report(both, tmp_path / "both.html").read_text()
    assert all(f"<h1>{one} " in page for one in both)


def test_a_report_replaces_an_older_one(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 4, ("u",))
    file = report(tmp_path / "a")
    first = file.read_text()
    assert report([tmp_path / "a"], tmp_path / "a").read_text() == first


@pytest.mark.parametrize(
    ("recovery", "said"),
    [
        ({}, "arXiv:2007.02491. Ours also trains for 80 steps"),
        ({"score_steps": 12}, "arXiv:2007.02491. Ours also trains for 12 steps"),
        ({"score_steps": None, "reconstruct": True}, "arXiv:2007.02491."),
        ({"score_steps": 0}, "arXiv:2007.02491."),
        ({"calibration_batches": 0}, None),
    ],
)
def test_scoring_cites_what_it_did(
    run: RunEvidence, recovery: dict[str, Any], said: str | None
) -> None:
    settings = {**run.settings, "recovery": recovery}
    papers = dict(cited(replace(run, settings=settings)))
    assert ("scoring" in papers) is (said is not None)
    assert said is None or said in papers["scoring"]
    assert ("also trains" in papers.get("scoring", "")) is ("also trains" in (said or ""))


@pytest.mark.parametrize(
    ("recovery", "change", "taught", "halved"),
    [
        ({"distill": None, "finalists": None}, {}, True, True),
        ({"distill": 0.0, "finalists": 1}, {}, False, False),
        ({"distill": 0.3}, {"task": "segmentation"}, True, False),
        ({"distill": None}, {"task": "segmentation"}, False, False),
        ({"distill": None, "recover_steps": 0}, {}, False, False),
        ({"distill": None}, {"task_identity": {"class": "their.Task"}}, False, False),
        ({"distill": None, "finalists": None}, {"recover": "train.py:mine"}, False, False),
    ],
)
def test_what_finalists_are_trained_with_is_cited_where_it_was(
    run: RunEvidence, recovery: dict[str, Any], change: dict[str, Any], taught: bool, halved: bool
) -> None:
    usual: dict[str, Any] = {"task": "classification", "task_identity": {}, "recover": None}
    settings = {**run.settings, **usual, **change, "recovery": {"recover_steps": 9} | recovery}
    papers = dict(cited(replace(run, settings=settings)))
    assert ("distillation" in papers, "finalists" in papers) == (taught, halved)


def test_an_exponential_schedule_cites_who_proposed_it(run: RunEvidence) -> None:
    recovery = {"schedule": "progressive", "prune_spacing": "exponential"}
    papers = dict(cited(replace(run, settings={**run.settings, "recovery": recovery})))
    paper = papers["progressive cuts, exponential"]
    assert "de Jorge et al. 2020" in paper
    assert "arXiv:2006.09081" in paper
    assert "Shen et al. 2021" in paper
