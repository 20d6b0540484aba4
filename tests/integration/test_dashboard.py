"""``autoprune dashboard`` on a real search, in a real browser."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import make_server

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import create_trial

from autoprune.agent.housing.workspace import DATABASE, RESULT, STUDY
from autoprune.reporting.dashboard.watch import viewed
from autoprune.storage.engine import sqlite_url
from autoprune.storage.shared import shared_database
from autoprune.storage.study import close_study, open_study
from autoprune.storage.watched import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

TRIALS = 12
HOSTILE = '<img src=x onerror="hacked=1">|[x](javascript:hacked=1)<script>hacked=1</script>'
HOSTILE_FOLDER = "<img src=x onerror='hacked=1'> night"  # no slash


def code_of(folder: Path) -> None:
    """Give a layer of the user's model a name that means mischief."""
    file = folder / "code.py"
    code = file.read_text()
    name = HOSTILE.replace("/", "")  # a file name of weights would not hold it
    code = code.replace("self.inner = nn.Conv2d", f"self._hostile({name!r}, nn.Conv2d", 1)
    code = code.replace("self.inner(x)", f"getattr(self, {name!r})(x)", 1)
    code = re.sub(r"(_hostile\(.*bias=False\))", r"\1)", code, count=1)
    code = code.replace("_hostile", "add_module")
    file.write_text(code)


def search(folder: Path, out: Path, *words: str, **settings: str) -> "subprocess.Popen[str]":
    """Begin a search in the user's folder, with a database of its own for all runs."""
    own = {"AUTOPRUNE_DATABASE": str(out.parent / f"{abs(hash(out))}.db"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "autoprune", "search", "search.yaml", "--quiet"]
    return subprocess.Popen(
        [*command, "--trials", str(TRIALS), "--out", str(out), *words],
        cwd=folder,
        env=os.environ | own | settings,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def hostile_project(user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "project"
    shutil.copytree(user_folder, folder)
    code_of(folder)
    return folder


@pytest.fixture(scope="module")
def finished(hostile_project: Path) -> Path:
    """Return a finished run whose names are hostile, with a trial that is better but over."""
    out = hostile_project.parent / HOSTILE_FOLDER
    begun = search(hostile_project, out)
    _, told = begun.communicate(timeout=400)
    assert begun.returncode == 0, told
    study = open_study(sqlite_url(out / DATABASE), STUDY)
    best = study.best_trial
    over = {"macs": 0.25}
    told_of = {**best.user_attrs, "outcome": HOSTILE}
    study.add_trial(
        create_trial(
            value=best.values[0] / 2,
            params=best.params,
            distributions=best.distributions,
            user_attrs=told_of,
            constraints=over,
        )
    )
    close_study(study)
    return out


@contextmanager
def dashboard(of: str | Path) -> Iterator[str]:
    """Serve the dashboard and yield its address."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "autoprune", "dashboard", str(of), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert begun.stdout is not None
        line = begun.stdout.readline()
        assert line, begun.communicate()[1]
        yield json.loads(line)["url"]
    finally:
        begun.terminate()
        _, told = begun.communicate(timeout=60)
        assert (begun.returncode, told) == (0, "")


class Watch:
    """A page, and what went wrong on it."""

    def __init__(self, browser: "Browser") -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.problems: list[str] = []
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))

    def _told(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def open(self, url: str, wanted: str) -> str:
        """Open a page and return its text once it holds ``wanted``."""
        self.page.goto(url)
        self.page.get_by_text(wanted).first.wait_for(timeout=60_000)
        assert self.page.evaluate("typeof hacked") == "undefined"
        return self.page.inner_text("body")

    def leave(self) -> None:
        """Leave the page before nobody serves it any more: it goes on asking."""
        self.page.goto("about:blank")


@pytest.fixture
def watch(browser: "Browser") -> Iterator[Watch]:
    found = Watch(browser)
    yield found
    found.page.close()
    assert found.problems == []


def result_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / RESULT).read_text())
    return found


def test_the_best_trial_is_the_result_and_what_is_over_is_told_apart(
    finished: Path, watch: Watch, tmp_path: Path
) -> None:
    result, before = result_of(finished), digest(finished)
    over = TRIALS  # number of the trial that was added
    with dashboard(finished) as url:
        text = watch.open(url, "Best Trial (number=")
        found = re.search(r"Best Trial \(number=(\d+)\)", text)
        assert found
        assert int(found[1]) != over
        for width in (375, 768, 1280):
            watch.page.set_viewport_size({"width": width, "height": 900})
            watch.open(url, "Best Trial (number=")
            watch.page.get_by_text("Infeasible").first.wait_for()  # in the timeline
            watch.page.screenshot(path=tmp_path / f"study-{width}.png", full_page=True)
            assert (tmp_path / f"study-{width}.png").stat().st_size > 20_000
        text = watch.open(f"{url}/trials?numbers={found[1]}", "Returned; Finalist, recovered")
        assert "Best Trial" in text
        assert "yes" in text.partition("inside the budget")[2][:200]
        for unit, choice in result["policy"].items():
            shown = text.partition(f"{unit} ")[2] or text.partition(f"{unit}\t")[2]
            assert f"{choice['method']}\t{100 * choice['sparsity']:.1f}%" in shown
        text = watch.open(f"{url}/trials?numbers={over}", "Over the budget")
        assert "no: macs is over by 25.0%" in text
        text = watch.open(f"{url}/note", "Dense against pruned")
        for figure in ("quality_search", "quality_test"):
            assert f"{100 * result['pruned'][figure]:.2f}%" in text
        assert "over the budget\t1\n" in text
        watch.page.get_by_role("link", name=f"trial {found[1]}").click()
        watch.page.get_by_text("Returned; Finalist, recovered").first.wait_for()
        assert digest(finished) == before
        watch.leave()


def digest(run: Path) -> str:
    """Return a sum of the database's content."""
    return hashlib.sha256((run / DATABASE).read_bytes()).hexdigest()


def test_hostile_names_are_shown_and_do_nothing(finished: Path, watch: Watch) -> None:
    with dashboard(finished) as url:
        home = url.partition("/studies")[0]
        assert "onerror" in watch.open(home, "onerror")
        watch.open(url, "Best Trial (number=")
        for figure in ("History", "Policy by unit", "Where the time went"):
            watch.page.locator(".gtitle", has_text=figure).first.wait_for(timeout=60_000)
        assert "onerror" in watch.open(f"{url}/analytics", "onerror")
        assert "onerror" in watch.open(f"{url}/trialTable", "onerror")
        text = watch.open(f"{url}/note", "Dense against pruned")
        assert HOSTILE[:20] in text, "it stays what it is, as text"
        links = watch.page.locator("a").evaluate_all("found => found.map(one => one.href)")
        assert not any(link.startswith("javascript") for link in links)
        assert watch.page.locator("img[src=x], script:not([src])").count() == 0
        watch.leave()


def test_files_can_be_read_and_a_report_runs_apart_from_the_dashboard(
    finished: Path, watch: Watch
) -> None:
    with dashboard(finished) as url:
        base = url.partition("/dashboard")[0]
        with urllib.request.urlopen(f"{base}/api/studies/1", timeout=60) as answer:
            files = {one["filename"]: one for one in json.load(answer)["artifacts"]}
        assert {"report.html", "result.json", "policy.json", "weights.safetensors"} <= files.keys()
        place = f"{base}/artifacts/1/{files['result.json']['artifact_id']}"
        with urllib.request.urlopen(place, timeout=60) as answer:
            assert json.load(answer) == result_of(finished)
        place = f"{base}/artifacts/1/{files['report.html']['artifact_id']}"
        watch.open(place, "Policy by unit")
        assert watch.page.evaluate("self.origin") == "null", "it reads nothing of the dashboard"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DELETE", "/api/studies/1", {}, 405),
        ("DELETE", "/api/studies/1", {"Origin": "http://evil.example"}, 403),
        ("PUT", "/api/studies/1/note", {"Content-Type": "application/json"}, 405),
        ("POST", "/api/studies", {"Content-Type": "application/json"}, 405),
        ("POST", "/incompatible-rdb-schema", {}, 405),
        ("GET", "/api/studies", {"Host": "evil.example"}, 421),
        ("GET", "/api/studies", {"Origin": "http://evil.example"}, 403),
        ("GET", "/artifacts/1/../../../etc/passwd", {}, 404),
    ],
)
def test_nobody_else_gets_in_and_nothing_can_be_changed(
    served: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    asked = urllib.request.Request(served + path, b"{}", headers, method=method)
    if method == "GET":
        asked.data = None
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=60)
    with refused.value as answer:
        assert answer.code == status


@pytest.fixture(scope="module")
def served(finished: Path) -> Iterator[str]:
    with dashboard(finished) as url:
        yield url.partition("/dashboard")[0]


FETCH = """async ([base, file]) => {
  const found = []
  const asked = [["/api/studies", {}], ["/api/studies/1", {method: "DELETE"}], [file, {}],
    ["/incompatible-rdb-schema", {method: "POST", mode: "no-cors"}]]
  for (const [path, options] of asked) {
    try { found.push((await fetch(base + path, options)).type) } catch { found.push("refused") }
  }
  return found
}"""


@pytest.fixture
def other_site() -> Iterator[str]:
    """Serve another site on this machine: browsers keep those farther away out by themselves."""

    def page(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        return [b"<p>Come in."]

    with make_server("127.0.0.1", 0, page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site_reads_and_changes_nothing(
    served: str, other_site: str, browser: "Browser"
) -> None:
    with urllib.request.urlopen(f"{served}/api/studies/1", timeout=60) as answer:
        (file, *_) = json.load(answer)["artifacts"]
    page = browser.new_page()
    page.goto(other_site)
    found = page.evaluate(FETCH, [served, f"/artifacts/1/{file['artifact_id']}"])
    page.close()
    assert not {"basic", "cors"} & set(found), found
    with urllib.request.urlopen(f"{served}/api/studies", timeout=60) as answer:
        assert len(json.load(answer)["study_summaries"]) == 1


def test_a_search_goes_on_as_if_nobody_looked(hostile_project: Path, finished: Path) -> None:
    out = hostile_project.parent / "watched"
    begun = search(hostile_project, out)
    over, seen = threading.Event(), list[int]()

    def look(place: str) -> None:
        while not over.wait(0.05):
            with urllib.request.urlopen(f"{place}/api/studies/1", timeout=60) as answer:
                seen.append(len(json.load(answer)["trials"]))

    try:
        while not _has_study(out):
            assert begun.poll() is None, begun.communicate()
            over.wait(0.2)
        with dashboard(out) as url:
            looker = threading.Thread(target=look, args=[url.partition("/dashboard")[0]])
            looker.start()
            try:
                _, told = begun.communicate(timeout=400)
            finally:
                over.set()
                looker.join()
    finally:
        begun.kill()
    assert begun.returncode == 0, told
    assert seen
    assert seen == sorted(seen)
    same = ("policy", "pruned", "cuts")
    ours, theirs = result_of(out), result_of(finished)
    assert [ours[name] for name in same] == [theirs[name] for name in same]


def _has_study(run: Path) -> bool:
    try:
        with watched(sqlite_url(run / DATABASE)) as found:
            return bool(found.studies.get_all_studies())
    except Exception:
        return False


def test_a_server_refuses_changes_and_shows_its_runs(postgres: str) -> None:
    with shared_database(postgres) as shared:
        shared.start_run("night", {"budget": {"macs": "50%"}}, "model", "data")
    study = open_study(postgres, "night")
    study.add_trial(optuna.create_trial(value=1.0, constraints={"macs": 0.5}))
    study.add_trial(optuna.create_trial(value=2.0, constraints={"macs": -0.5}))
    close_study(study)
    with watched(postgres) as found:
        with pytest.raises(StorageInternalError):
            found.studies.set_study_user_attr(1, "name", "value")
        assert found.runs is not None
    with viewed(postgres, "night") as (view, _):
        assert [one.number for one in view.best_trials(1)] == [1]
        note = view.get_study_system_attrs(1)["dashboard:note_str:0"]
    assert note.startswith("# night\n\nStopped. Asked for: budget macs 50%")
