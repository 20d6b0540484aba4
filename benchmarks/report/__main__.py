"""``python -m benchmarks.report``: what the HTML report of a long run takes."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from benchmarks.command import command
from benchmarks.provenance import code_of
from benchmarks.report.measure import median, render
from benchmarks.work import Results, Task

LIMIT = 600.0  # seconds of processor time between two notes
TRIALS, UNITS = 1_000, 53  # units: convolutions of a ResNet-50


def tasks(*, quick: bool) -> Iterator[Task]:
    """Yield the task: one long run."""
    code = code_of("autoprune/reporting", "autoprune/storage", "benchmarks/report")
    arguments = {"trials": TRIALS, "units": UNITS, "times": 3 if quick else 9}
    yield Task(
        kind="page", name=f"{TRIALS}", job=render, arguments=arguments, limit=LIMIT, code=code
    )


def figures(results: Results) -> Mapping[str, Any]:
    """Return medians; sizes in megabytes, of 10**6 bytes."""
    (found,) = results["page"].values()
    if "failure" in found:
        return {"failure": found["failure"]}
    times = ("render_s", "render_cpu_s", "shown_s", "open_s", "drawn_s", "open_cpu_s")
    return {
        "trials": TRIALS,
        **{name: median(found[name]) for name in times},
        **{name: round(found[name], 3) for name in ("raw_mb", "gzip_mb")},
        "figures": found["figures"],
        "load": round(found["load"], 1),
    }


main = command("report", "Render the report of a run of 1,000 trials and open it.", tasks, figures)


if __name__ == "__main__":
    typer.run(main)
