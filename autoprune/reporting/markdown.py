"""The report of a result as Markdown, for a pull request or a note."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from autoprune._resources import resource
from autoprune.artifacts.result import Result
from autoprune.reporting.comparisons import comparisons
from autoprune.reporting.effort import effort_line
from autoprune.reporting.goal import LIMITS, ended_line, goal_rows, limit_rows
from autoprune.reporting.rows import STEPS, bar, budget_rows, check_rows, step_rows
from autoprune.reporting.story import cautions_of

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def render_markdown(result: Result) -> str:
    """Return the text of ``report.md``."""
    goal, is_share = result.goal, result.is_share
    return rendered(
        "report.md.j2",
        result=result,
        comparisons=comparisons(result),
        drops=goal_rows(goal, is_share) if goal else [],
        columns=LIMITS,
        limits=limit_rows(goal, is_share) if goal else [],
        ended=ended_line(goal, is_share) if goal else "",
        budget=budget_rows(result),
        checks=check_rows(result),
        effort=effort_line(result),
        cautions=list(cautions_of(result)),
        versions=versions_text(result.versions),
        bar=bar,
        step_columns=STEPS,
        steps=step_rows(result),
    )


def versions_text(versions: Mapping[str, str]) -> str:
    """Return versions by package as one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def rendered(template: str, **content: Any) -> str:
    """Return a template of `dashboards/` with its content filled in."""
    return _template(template).render(content)


@lru_cache
def _template(name: str) -> Template:
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: names go through `escape_markdown`
    )
    environment.filters["md"] = escape_markdown
    text = resource("dashboards", name).read_text(encoding="utf-8")
    return environment.from_string(text)


def escape_markdown(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
