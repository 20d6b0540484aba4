"""The report as one HTML file that needs no network."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from autoprune import __version__
from autoprune._resources import resource
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.page.compared import compared_charts
from autoprune.reporting.page.compared_table import compared_table
from autoprune.reporting.page.run import run_page

MADE_BY = '<meta name="generator" content="autoprune'
_IN_SCRIPT = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def render_html(runs: Sequence[RunEvidence]) -> str:
    """Return the page of one run, or of several: compared at first, then each.

    Args:
        runs: At least one.
    """
    scripts = [Markup(get_plotlyjs()), Markup(_text("page.js.j2"))]
    environment = Environment(
        loader=FunctionLoader(_text),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters["figure"] = figure_json
    environment.filters["pretty"] = lambda content: json.dumps(content, indent=2)
    return environment.get_template("page.html.j2").render(
        title=", ".join(one.name for one in runs),
        made_by=Markup(f'{MADE_BY} {__version__}">'),
        policy=_policy(scripts),
        style=Markup(_text("style.css.j2")),
        scripts=scripts,
        comparison=compared_table(runs) if len(runs) > 1 else None,
        compared=compared_charts(runs) if len(runs) > 1 else [],
        pages=[run_page(run, f"run{at}") for at, run in enumerate(runs)],
        version=__version__,
    )


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON for a script element: no character of it can end that element.

    Its title is left out, for the page has one of its own.
    """
    content: dict[str, Any] = json.loads(figure.to_json())
    content["layout"].pop("title", None)
    content["layout"].get("margin", {})["t"] = 36
    return Markup(json.dumps(content, separators=(",", ":")).translate(_IN_SCRIPT))


def _policy(scripts: Sequence[str]) -> str:
    """Return the content security policy: our own scripts run, nothing is fetched."""
    hashes = " ".join(f"'sha256-{_sha256(one)}'" for one in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _text(name: str) -> str:
    """Return a template of the report."""
    return resource("dashboards", f"report/{name}").read_text(encoding="utf-8")
