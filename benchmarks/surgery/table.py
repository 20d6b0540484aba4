"""The file of a full run: every model, what was found, and why what failed did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune.artifacts.files import write_text
from benchmarks.isolated import Facts
from benchmarks.surgery.figures import cause, is_ok
from benchmarks.work import Results


def write_table(path: Path, results: Results, last: Mapping[str, Any]) -> None:
    """Write ``last`` (figures, machine, commit) with the facts behind it; replaces the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        **last,
        "models": {name: _row(name, results) for name in results.get("ours", {})},
        "build": results.get("build", {}),
        "memory": results.get("memory", {}),
    }
    write_text(path, json.dumps(whole, indent=1) + "\n")


def _row(name: str, results: Results) -> Facts:
    own = results["ours"][name]
    rivals = {
        kind: _rival(results.get(kind, {}).get(name, {}))
        for kind in ("theirs_expert", "theirs_obvious")
    }
    return {"ok": is_ok(own), "cause": cause(own), **own, **rivals}


def _rival(facts: Facts) -> Facts:
    known: Facts = {n: facts[n] for n in ("prune_s", "seconds") if n in facts}
    return {"right": bool(facts.get("right")), "cause": cause(facts), **known}
