"""Makes a long run, its report, and opens that in Chromium."""

import gzip
import os
import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

from autoprune.report_api import report
from benchmarks.isolated import Note
from benchmarks.report.made import make_run

CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
LONG = 300_000  # milliseconds that a page may take before it counts as one that does not open


def render(note: Note, trials: int, units: int, times: int) -> None:
    """Make the report of a run several times, and open it as often.

    Noted are seconds of the clock and of the processor to render; seconds of the clock until the
    browser shows the first text (``shown``), until the figures in the window are drawn (``open``)
    and until all are (``drawn``); and the processor's of the page's main thread for all of it,
    which other work on the machine does not lengthen.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        note(stage="make")
        make_run(folder, trials, [f"features.{number}.conv" for number in range(units)])
        rendered: list[float] = []
        worked: list[float] = []
        for _ in range(times):
            note(stage="render")
            before, began = time.process_time(), time.perf_counter()
            file = report(folder)
            rendered.append(time.perf_counter() - began)
            worked.append(time.process_time() - before)
        data = file.read_bytes()
        note(render_s=rendered, render_cpu_s=worked, raw_mb=len(data) / 1e6)
        note(gzip_mb=len(gzip.compress(data)) / 1e6, stage="open")
        _open(note, file, times)


def _open(note: Note, file: Path, times: int) -> None:
    """Open the page in a fresh window each time; the browser is started once."""
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM
        )
        for _ in range(times):
            page = browser.new_page(offline=True)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(file.as_uri(), timeout=LONG)
            page.locator("html[data-drawn]").wait_for(state="attached", timeout=LONG)
            told: dict[str, Any] = page.evaluate(_TIMES)
            metrics = session.send("Performance.getMetrics")["metrics"]
            told["times"]["open_cpu_s"] = next(
                one["value"] for one in metrics if one["name"] == "ThreadTime"
            )
            for name, value in told["times"].items():
                found.setdefault(name, []).append(value)
            page.close()
            note(**found, figures=told["figures"], load=os.getloadavg()[0], stage="open")
        browser.close()


_TIMES = """() => ({
  times: Object.fromEntries(
    [["shown_s", "first-contentful-paint"], ["open_s", "open"], ["drawn_s", "drawn"]].map(
      ([name, entry]) => [name, performance.getEntriesByName(entry)[0].startTime / 1000]
    )
  ),
  figures: Number(document.documentElement.dataset.drawn),
})"""


def median(values: list[float]) -> float:
    """Return the median, with three digits."""
    return float(f"{statistics.median(values):.3g}")
