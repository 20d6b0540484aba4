"""The report of real searches in a real browser: it shows what the files say, and asks nobody."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import autoprune
from autoprune.agent.housing.workspace import CHECKS, DATABASE, SESSIONS, STUDY
from autoprune.artifacts.result import Result
from autoprune.core.imports import load_object
from autoprune.errors import ConfigError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from benchmarks.report.made import make_run

RECOVERY = autoprune.Recovery(score_steps=2, recover_steps=6, finalists=2, calibration_batches=1)
HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "plain")
WIDTHS = (375, 768, 1280)
LONG = 120_000  # milliseconds that a page may take on a machine that others use too
ALL_TITLES = "() => [...document.querySelectorAll('.plot')].map((one) => one.id)"
DATA = "(id) => document.getElementById(id).data.map(({x, y, name}) => ({x, y, name}))"
COLOUR = "(id) => document.getElementById(id).layout.font.color"


@dataclass
class Seen:
    """A page, and what it said and asked for that it should not."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def open(self, file: Path) -> Page:
        """Open a file and wait until its figures are drawn."""
        page = self.page
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self._asked(request.url))
        page.goto(file.as_uri(), timeout=LONG)
        page.locator("html[data-drawn]").wait_for(state="attached", timeout=LONG)
        return page

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")) or url.count("file:") > 1:
            self.problems.append(f"request {url}")


@pytest.fixture
def seen(browser: Browser) -> Iterator[Callable[..., Seen]]:
    """Return what opens a page of some width; whatever goes wrong there fails the test."""
    made: list[Seen] = []

    def make(width: int = 1280, scheme: Any = "light") -> Seen:
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        made.append(Seen(page))
        return made[-1]

    yield make
    for one in made:
        one.page.close()
    assert [problem for one in made for problem in one.problems] == []


def search(folder: Path, **options: Any) -> Any:
    """Search the user's network as anybody would."""
    task = autoprune.Classification(load_object("code.py:loaders", base=folder)())
    given: dict[str, Any] = {"trials": 14, "onnx": False, "recovery": RECOVERY}
    given |= {"runner": f"file:{folder / 'runner.yaml'}", "progress": lambda event: None}
    net = load_object("code.py:trained", base=folder)()
    return autoprune.search(net, task=task, **given | options)


@pytest.fixture(scope="module")
def run(user_folder: Path) -> Path:
    """Return the folder of a finished search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPRUNE_DATABASE", str(user_folder / "shared.db"))
        folder: Path = search(user_folder, budget="macs=50%", out=user_folder / "night").folder
        return folder


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a long made-up run with hostile names, and its report."""
    folder = tmp_path_factory.mktemp("runs") / "long"
    make_run(folder, 200, HOSTILE)
    return autoprune.report(folder).parent


def result_of(folder: Path) -> Result:
    return Result.model_validate_json((folder / "result.json").read_text(encoding="utf-8"))


def kept_by(folder: Path) -> Mapping[str, Any]:
    with closing(Database.open(sqlite_url(folder / DATABASE))) as database:
        run = database.find_run(STUDY)
        assert run is not None
        return run.kept


def test_the_page_shows_what_the_result_says(run: Path, seen: Callable[..., Seen]) -> None:
    page, result = seen().open(run / "report.html"), result_of(run)
    table = page.locator("table.headline")
    cells = {row[0]: row[1:] for row in table.evaluate(_ROWS)}
    for name, dense, pruned in (
        ("top-1, search split", result.dense.quality_search, result.pruned.quality_search),
        ("top-1, test split", result.dense.quality_test, result.pruned.quality_test),
    ):
        assert cells[name][:2] == [f"{100 * dense:.2f}%", f"{100 * pruned:.2f}%"]
    assert cells["parameters"][1] == f"{result.pruned.params}"
    told = page.locator(".tiles").inner_text()
    assert f"{100 * result.pruned.quality_test:.2f}%" in told
    assert "passed" in told
    assert page.locator(".state").inner_text() == "finished"
    spent = page.locator("tr", has_text="test split and checks").last.inner_text()
    took = kept_by(run)[CHECKS]["seconds"]
    assert took > 0
    assert spent.split()[-1] == f"{took:,.1f}"
    code = page.locator("pre.command").inner_text()
    assert "autoprune.search(" in code
    assert "trials=14" in code


def test_each_session_tells_where_and_how_long_it_searched(
    user_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "twice"
    search(user_folder, budget="macs=50%", out=folder, trials=2, timeout=600.0)
    more: dict[str, Any] = {"trials": 3, "runner": "local", "if_exists": "resume"}
    search(user_folder, budget="macs=50%", out=folder, **more)
    first, last = kept_by(folder)[SESSIONS]
    assert first["runner"] == f"file:{user_folder / 'runner.yaml'}"
    assert (first["timeout"], first["joined"]) == (600.0, False)
    assert {name: last[name] for name in ("runner", "kind", "workers", "timeout")} == {
        **{"runner": "local", "kind": "local", "workers": 1, "timeout": None},
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "before the timeout (600 s) depends on load" in page


_ROWS = "(table) => [...table.tBodies[0].rows].map((r) => [...r.cells].map((c) => c.innerText))"


def test_the_figures_hold_the_numbers_of_the_files(run: Path, seen: Callable[..., Seen]) -> None:
    page, result = seen().open(run / "report.html"), result_of(run)
    bars = {
        place: share
        for trace in page.evaluate(DATA, "run0-m0-policy")
        if trace["name"] != "removed"
        for place, share in zip(trace["y"], trace["x"], strict=True)
    }
    assert bars == {at: cut.kept / cut.atoms for at, cut in enumerate(result.cuts)}
    points = {one["name"]: one for one in page.evaluate(DATA, "run0-front-0")}
    share = result.pruned.macs / result.dense.macs
    assert points["returned, fine-tuned"]["x"] == [share]
    assert points["returned, fine-tuned"]["y"] == [result.pruned.quality_search]
    history = page.evaluate(DATA, "run0-history")
    counted = sum(
        len(one["x"]) for one in history[:-1] if one["name"] in ("scored", "reverted a decision")
    )
    assert counted >= result.search.evaluations - result.search.stopped
    saved = [cut.macs_saved for cut in result.cuts if cut.method]
    assert saved
    assert all(one is not None and one > 0 for one in saved)


def test_a_bar_under_the_mouse_says_what_was_done(run: Path, seen: Callable[..., Seen]) -> None:
    page, result = seen().open(run / "report.html"), result_of(run)
    at, cut = next((at, cut) for at, cut in enumerate(result.cuts) if cut.method)
    plot = page.locator("#run0-m0-policy")
    plot.scroll_into_view_if_needed()
    where = page.evaluate(_BAR, ["run0-m0-policy", at])
    page.mouse.move(where["x"], where["y"])
    tip = plot.locator(".hoverlayer .hovertext")
    tip.first.wait_for(timeout=LONG)
    text = tip.first.text_content() or ""
    for part in (cut.unit, f"method: {cut.method}", f"{cut.kept} of {cut.atoms}", "MACs saved: "):
        assert part in text
    assert "sensitivity: " in text


_BAR = """([id, at]) => {
  const plot = document.getElementById(id);
  const box = plot.querySelector(".nsewdrag").getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  return {x: box.x + xaxis.d2p(0.05), y: box.y + yaxis.d2p(at)};
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(
    run: Path, seen: Callable[..., Seen], scheme: str
) -> None:
    page = seen(scheme=scheme).open(run / "report.html")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    before, text = page.evaluate(ground), page.evaluate(COLOUR, "run0-history")
    assert (sum(map(int, before[4:-1].split(","))) > 600) is (scheme == "light")
    page.locator("#theme").click()
    page.wait_for_timeout(500)
    assert page.evaluate(ground) != before
    assert page.evaluate(COLOUR, "run0-history") != text
    page.locator("#theme").click()
    page.wait_for_timeout(500)
    assert (page.evaluate(ground), page.evaluate(COLOUR, "run0-history")) == (before, text)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window(
    run: Path, long: Path, seen: Callable[..., Seen], width: int, tmp_path: Path
) -> None:
    for number, file in enumerate((run / "report.html", long / "report.html")):
        page = seen(width).open(file)
        page.evaluate("() => document.querySelectorAll('details').forEach((d) => (d.open = true))")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        wide = page.evaluate("() => document.querySelectorAll('.js-plotly-plot').length")
        assert wide == len(page.evaluate(ALL_TITLES))
        picture = tmp_path / f"{number}-{width}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 10_000


def test_hostile_names_are_shown_and_do_nothing(long: Path, seen: Callable[..., Seen]) -> None:
    page = seen().open(long / "report.html")
    assert page.locator("img").count() == 0
    page.locator("summary", has_text="All units").click()
    assert page.get_by_role("cell", name=HOSTILE[0]).first.is_visible()
    ticks = page.locator("#run0-m0-policy .ytick").all_text_contents()
    assert any("alert(1)</script>" in tick for tick in ticks)
    assert page.locator("#run0-history .trace").count() > 0


def test_a_report_can_be_printed(run: Path, seen: Callable[..., Seen], tmp_path: Path) -> None:
    page = seen(scheme="dark").open(run / "report.html")
    wide = page.evaluate(_DRAWN)
    assert min(wide) > 700
    printed = page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("#theme").is_visible()
    page.wait_for_timeout(1_000)
    heights = page.evaluate(_HEIGHTS)
    assert heights
    assert all(drawn == given for given, drawn in heights), "nothing is printed over the rest"
    assert max(page.evaluate(_DRAWN)) <= 700, "a page of paper is no wider"
    page.emulate_media(media="screen")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.wait_for_timeout(1_000)
    assert page.evaluate(_DRAWN) == wide


@pytest.mark.parametrize("javascript", [True, False])
def test_paper_is_white_and_nothing_is_folded_on_it(
    long: Path, browser: Browser, javascript: bool
) -> None:
    page = browser.new_page(color_scheme="dark", java_script_enabled=javascript, offline=True)
    page.goto((long / "report.html").as_uri(), timeout=LONG)
    folded = page.locator("details table")
    assert page.evaluate(_BRIGHTNESS, "color") > 600, "dark: the text is light"
    assert folded.count() > 0
    assert not folded.first.is_visible()
    if javascript:
        page.locator("html[data-drawn]").wait_for(state="attached", timeout=LONG)
        page.locator("#theme").click(click_count=2)
        assert page.locator("html").get_attribute("data-theme") == "dark"
    page.emulate_media(media="print", color_scheme="dark")
    if javascript:
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
    assert page.evaluate(_BRIGHTNESS, "color") < 200
    assert page.evaluate(_BRIGHTNESS, "backgroundColor") == 3 * 255
    assert all(one.is_visible() for one in folded.all())
    if javascript:
        assert page.evaluate(COLOUR, "run0-history") == "#1d2733", "as the text of the paper"
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert not folded.first.is_visible()
    page.close()


_BRIGHTNESS = """(name) => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3)
  .reduce((sum, one) => sum + Number(one), 0)"""


def test_figures_keep_their_height_where_the_window_changes(
    run: Path, seen: Callable[..., Seen]
) -> None:
    page = seen(1280).open(run / "report.html")
    before = page.evaluate(_HEIGHTS)
    page.set_viewport_size({"width": 500, "height": 700})
    page.wait_for_timeout(1_000)
    assert page.evaluate(_HEIGHTS) == before
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 500


_DRAWN = """() => [...document.querySelectorAll(".js-plotly-plot .main-svg:first-child")].map(
  (one) => one.getBoundingClientRect().width)"""
_HEIGHTS = """() => [...document.querySelectorAll(".js-plotly-plot")].map((one) => [
  one.getBoundingClientRect().height,
  one.querySelector(".svg-container").getBoundingClientRect().height,
])"""


def test_runs_are_compared_on_one_page(
    run: Path, long: Path, seen: Callable[..., Seen], tmp_path: Path
) -> None:
    file = autoprune.report([run, long], tmp_path / "both.html")
    page = seen().open(file)
    rows = page.locator("section table").first.evaluate(_ROWS)
    assert [row[0] for row in rows] == ["night", "long"]
    for row, folder in zip(rows, (run, long), strict=True):
        pruned = result_of(folder).pruned.quality_test
        assert row[6] == f"{100 * pruned:.2f}%"
        assert row[2] == "macs=50%"
        assert row[-1] == "passed"
    lines = page.evaluate(DATA, "all-history")
    assert [line["name"] for line in lines] == ["night", "long"]
    assert page.locator("article.run").count() == 2


def test_a_front_is_one_page_with_all_its_points(
    user_folder: Path, tmp_path: Path, seen: Callable[..., Seen]
) -> None:
    options: dict[str, Any] = {"pareto": "macs=40%..70%", "points": 2, "trials": 6}
    found = search(user_folder, out=tmp_path / "front", **options)
    page = seen().open(found.folder / "report.html")
    written = json.loads((found.folder / "front.json").read_text(encoding="utf-8"))
    points = page.evaluate(DATA, "run0-front-0")
    (own,) = (one for one in points if one["name"] == "returned, fine-tuned")
    assert own["x"] == pytest.approx([one["share"] for one in written["points"]])
    for one in page.locator("article > section > details").all():
        if one.get_attribute("open") is None:
            one.locator("summary").first.click()
    page.wait_for_timeout(1_000)
    drawn = page.locator(".plot.js-plotly-plot").count()
    assert drawn == page.locator(".plot").count()


def test_a_run_without_a_result_says_so(tmp_path: Path, seen: Callable[..., Seen]) -> None:
    make_run(tmp_path / "cut", 12, ("u",), finished=False)
    page = seen(375).open(autoprune.report(tmp_path / "cut"))
    assert page.locator(".state").inner_text() == "stopped"
    assert "goes on with it, with --if-exists resume" in page.locator("main").inner_text()
    assert "no model was returned" in page.locator("main").inner_text()


def test_a_run_on_a_server_is_found_by_its_name(
    user_folder: Path, tmp_path: Path, postgres: str
) -> None:
    options: dict[str, Any] = {"budget": "macs=50%", "trials": 4, "name": "by-night"}
    found = search(user_folder, out=tmp_path / "here", database=postgres, **options)
    own = (found.folder / "report.html").read_text(encoding="utf-8")
    file = autoprune.report("by-night", tmp_path / "again.html", database=postgres)
    assert file.read_text(encoding="utf-8") == own
    assert "<h1>by-night " in own
    assert postgres not in own
    with pytest.raises(ConfigError, match="Did you mean 'by-night'"):
        autoprune.report("by-nigth", tmp_path / "no.html", database=postgres)
