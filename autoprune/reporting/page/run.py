"""What the page says of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoprune.artifacts.result import Rolledback
from autoprune.reporting.citations import cited
from autoprune.reporting.effort import effort_line
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.ledger_terminal import totals_line
from autoprune.reporting.page.costs import devices_table, facts_of, latency_chart, spent_parts
from autoprune.reporting.page.models import ModelPart, front_table, model_part, tiles_of
from autoprune.reporting.page.parts import Chart, Table, Tile
from autoprune.reporting.page.searched import (
    decisions_table,
    finalists_table,
    prediction_charts,
    rollback_chart,
    search_charts,
)
from autoprune.reporting.repeating import promise
from autoprune.reporting.reproduce import command
from autoprune.reporting.story import Story, story_of


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What is said of one run; parts that are not there are None or empty.

    Args:
        id: Its anchor, unique on the page.
        run: The evidence.
        story: The sentences at the top.
        tiles: Figures at a glance.
        models: The models that were returned.
        front: The points of a front.
        left_out: Limits without a point, and why.
        search: Front and history.
        rollback: The timeline of decisions.
        decisions: The same as a table.
        rolled_back: What it came to.
        predictions: Calibration and reliability.
        effort: What the search cost and predictions were worth.
        latency: Tables against what was measured.
        devices: On what.
        spent: Where the time went, a figure and a table.
        finalists: What was trained for longer.
        command: How it is done again.
        promise: What to expect then.
        facts: Versions, seeds and fingerprints.
        papers: What was used, and the paper.
    """

    id: str
    run: RunEvidence
    story: Story
    tiles: Sequence[Tile]
    models: Sequence[ModelPart]
    front: Table | None
    left_out: Sequence[Any]
    search: Sequence[Chart]
    rollback: Chart | None
    decisions: Table | None
    rolled_back: str
    predictions: Sequence[Chart]
    effort: str
    latency: Chart | None
    devices: Table | None
    spent: tuple[Chart, Table]
    finalists: Table | None
    command: str
    promise: str
    facts: Sequence[tuple[str, str]]
    papers: Sequence[tuple[str, str]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def run_page(run: RunEvidence, at: str) -> RunPage:
    """Return what is said of a run; ``at`` begins the names of all places on the page."""
    told = run.told
    results = {"": run.result} if run.result else dict(run.points)
    return RunPage(
        id=at,
        run=run,
        story=story_of(run),
        tiles=tiles_of(run),
        models=[
            model_part(run, name, one, f"{at}-m{i}")
            for i, (name, one) in enumerate(results.items())
        ],
        front=front_table(run),
        left_out=run.front.left_out if run.front else (),
        search=list(search_charts(run, at)),
        rollback=rollback_chart(run, at),
        decisions=decisions_table(run),
        rolled_back=totals_line(Rolledback.of(run.ledger), run.yardstick),
        predictions=list(prediction_charts(run, at)),
        effort=effort_line(told) if told else "",
        latency=latency_chart(run, at),
        devices=devices_table(run),
        spent=spent_parts(run, at),
        finalists=finalists_table(run),
        command=command(run),
        promise=promise(run),
        facts=list(facts_of(run)),
        papers=cited(run),
        settings=run.settings,
    )
