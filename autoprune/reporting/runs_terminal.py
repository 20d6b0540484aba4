"""Runs in the terminal."""

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.text import Text

from autoprune.core.heartbeat import progress_text
from autoprune.core.yardstick import metric_text
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import share_text

_LONGEST = 160  # characters of a setting; --json has all of it


def print_runs(found: Sequence[Mapping[str, Any]]) -> None:
    """Print a list of runs."""
    console = standard_output()
    if not found:
        console.print(Text("The database knows no runs."))
        return
    right = ("evaluations", "quality", "MACs", "agents")
    made = table("Runs", "name", "state", *right, "begun", "folder", right=right)
    for one in found:
        made.add_row(*map(Text, _cells(one)))
    console.print(made)


def print_run(content: Mapping[str, Any]) -> None:
    """Print one run."""
    console = standard_output()
    facts = table(f"Run {content['name']}", "", "")
    agents: Sequence[Mapping[str, Any]] = content["agents"]
    counted = {**content, "agents": sum(one["lives"] for one in agents)}
    for name, value in zip(_FACTS, _cells(counted)[1:], strict=True):
        facts.add_row(Text(name), Text(value))
    for name, value in (content["outcome"] or {}).items():
        facts.add_row(Text(f"outcome: {name}"), Text(str(value)))
    console.print(facts)
    settings = table("Settings", "key", "value")
    for name, value in content["settings"].items():
        settings.add_row(
            Text(name), Text(shorten(json.dumps(value), _LONGEST, placeholder=" ..."))
        )
    console.print(settings)
    if agents:
        console.print(_agents(agents))
    if content["best"]:
        console.print(_best(content["best"], content["is_share"]))


_FACTS = ("state", "evaluations", "quality", "MACs", "agents alive", "begun", "folder")


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    quality, share = one["quality"], one["macs_share"]
    folder = one["folder"] or ""
    return (
        one["name"],
        one["state"],
        "?" if one["evaluations"] is None else str(one["evaluations"]),
        "" if quality is None else metric_text(quality, one["is_share"]),
        "" if share is None else share_text(share, 1.0),
        str(one["agents"]),
        one["begun"],
        folder if one["folder_is_here"] or not folder else f"{folder} (not here)",
    )


def _agents(agents: Sequence[Mapping[str, Any]]) -> Any:
    """Return a table of those that did not leave, living ones first."""
    made = table("Agents", "place", "alive", "begun", "last beat", "at")
    for one in sorted(agents, key=lambda one: not one["lives"]):
        at = progress_text(one["status"])
        alive = "yes" if one["lives"] else "no"
        made.add_row(*map(Text, (one["place"], alive, one["begun"], one["last_beat"], at)))
    return made


def _best(best: Sequence[Mapping[str, Any]], is_share: bool) -> Any:
    numbers = ("score", "loss", "quality")
    made = table("Best evaluations", "policy", "outcome", *numbers, right=numbers)
    for one in best:
        given = ["" if one[name] is None else f"{one[name]:.4g}" for name in numbers[:2]]
        quality = "" if one["quality"] is None else metric_text(one["quality"], is_share)
        made.add_row(*map(Text, (one["policy"], one["outcome"], *given, quality)))
    return made
