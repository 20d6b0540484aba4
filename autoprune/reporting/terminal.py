"""The report of a result for a terminal."""

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from autoprune.artifacts.goal import Goal
from autoprune.artifacts.result import Result
from autoprune.reporting.comparisons import comparisons
from autoprune.reporting.effort import effort_line
from autoprune.reporting.goal import LIMITS, ended_line, goal_rows, limit_rows
from autoprune.reporting.rows import STEPS, bar, budget_rows, check_rows, step_rows
from autoprune.reporting.story import cautions_of
from autoprune.reporting.tables import standard_output, table


def print_report(result: Result, folder: Path, console: Console | None = None) -> None:
    """Print the report of a result that lies in ``folder``, on standard output if not told."""
    console = console or standard_output()
    console.print(report(result))
    console.print(Text(f"Result in {folder}", style="bold"), soft_wrap=True)


def report(result: Result) -> RenderableType:
    """Return the whole report as something rich can print."""
    return Group(
        _comparison(result),
        Text(),
        *(_goal(result.goal, result.is_share) if result.goal else ()),
        _budget(result),
        Text(),
        _checks(result),
        Text(),
        _cuts(result),
        Text(),
        *(_steps(result) if result.steps else ()),
        Text(effort_line(result)),
        *(Text(f"Mind: {text}", style="yellow") for text in cautions_of(result)),
    )


def _comparison(result: Result) -> Table:
    figures = ("dense", "pruned", "change")
    rows = table("Dense against pruned", "", *figures, right=figures)
    for row in comparisons(result):
        rows.add_row(Text(row.label), row.dense, row.pruned, row.change)
    return rows


def _goal(goal: Goal, is_share: bool) -> tuple[RenderableType, ...]:
    drops = table("Drop", "", "allowed", "found", "", right=("allowed", "found"))
    for label, allowed, found, inside in goal_rows(goal, is_share):
        drops.add_row(label, allowed, found, _verdict("within" if inside else "MORE", inside))
    limits = table("Limits tried", *LIMITS, right=LIMITS[1:4])
    for row in limit_rows(goal, is_share):
        limits.add_row(*map(Text, row))
    return drops, Text(), limits, Text(ended_line(goal, is_share)), Text()


def _budget(result: Result) -> Table:
    rows = table("Budget", "cost", "limit", "used", "", right=("limit", "used"))
    for cost, limit, used, inside in budget_rows(result):
        rows.add_row(cost, limit, used, _verdict("inside" if inside else "OVER", inside))
    return rows


def _checks(result: Result) -> Table:
    rows = table("Checks", "", "")
    rows.show_header = False
    for label, outcome in check_rows(result):
        rows.add_row(label, _verdict(outcome, outcome != "NO"))
    return rows


def _cuts(result: Result) -> Table:
    rows = table("Cuts", "unit", "method", "kept", "", right=("kept",))
    for cut in result.cuts:
        method = Text(cut.method or "untouched", style="" if cut.method else "dim")
        rows.add_row(Text(cut.unit), method, f"{cut.kept}/{cut.atoms}", bar(cut))
    return rows


def _steps(result: Result) -> tuple[RenderableType, ...]:
    rows = table("Steps", *STEPS, right=STEPS[:4])
    for row in step_rows(result):
        rows.add_row(*map(Text, row))
    return rows, Text()


def _verdict(text: str, good: bool) -> Text:
    return Text(text, style="green" if good else "bold red")
