"""The report of a result as Markdown, for a pull request or a note."""

import re

from jinja2 import Environment, StrictUndefined

from autoprune._resources import resource
from autoprune.artifacts.result import Result
from autoprune.reporting.rows import bar, budget_rows, check_rows, comparisons, effort_line

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def render_markdown(result: Result) -> str:
    """Return the text of ``report.md``."""
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: names go through `escape_markdown`
    )
    environment.filters["md"] = escape_markdown
    template = resource("dashboards", "report.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        result=result,
        comparisons=comparisons(result),
        budget=budget_rows(result),
        checks=check_rows(result),
        effort=effort_line(result),
        versions=", ".join(f"{name} {version}" for name, version in result.versions.items()),
        bar=bar,
    )


def escape_markdown(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
