"""The reports that a search writes beside its result; the page comes first."""

import warnings

from autoprune.agent.goals.front import FrontResult
from autoprune.agent.housing.workspace import PAGE, REPORT
from autoprune.agent.request import Request
from autoprune.agent.results.result import SearchResult
from autoprune.artifacts.files import write_text
from autoprune.core.paths import resolved
from autoprune.errors import AutopruneError
from autoprune.report_api import report
from autoprune.reporting.front import front_markdown
from autoprune.reporting.markdown import render_markdown
from autoprune.storage.shared import server_of


def with_reports(found: SearchResult, request: Request) -> SearchResult:
    """Write the reports of a result, and return it; one that was finished before keeps its own."""
    if not (found.folder / REPORT).exists():
        _write_page(request)
        _write_report(found)
    return found


def front_with_reports(found: FrontResult, request: Request) -> FrontResult:
    """Write the reports of a front and of its points, whose page is one, and return the front."""
    for point in found.points:
        if not (point.folder / REPORT).exists():
            _write_report(point)
    if not (found.folder / REPORT).exists():
        _write_page(request)
        write_text(found.folder / REPORT, front_markdown(found.front))
    return found


def _write_report(found: SearchResult) -> None:
    write_text(found.folder / REPORT, render_markdown(found.result))


def _write_page(request: Request) -> None:
    """Write the page of a run; the result, which is there already, does not depend on it."""
    server = server_of(request.database) is not None
    run = request.name or resolved(request.out).name
    try:
        report(run if server else request.out, request.out / PAGE, database=request.database)
    except AutopruneError as err:
        warnings.warn(
            f"The result is whole, but its {PAGE} could not be written: {err} Make it again with "
            "autoprune report.",
            stacklevel=4,
        )
