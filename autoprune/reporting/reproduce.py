"""How a run is done again: the command, or the call where no search file is known."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from autoprune.core.budget import Budget, written
from autoprune.core.pareto import read_front_text
from autoprune.core.recovery import Recovery
from autoprune.errors import InputError
from autoprune.reporting.evidence import RunEvidence

_TOLERANCE = re.compile(r"lowest (?P<cost>.+) within (?P<drop>\S+)(?: points?)?")


def command(run: RunEvidence) -> str:
    """Return the command that asks for the same, or the Python call, settings spelt out."""
    return _command(run) if run.source else _call(run)


def _command(run: RunEvidence) -> str:
    settings = run.settings
    words = ["autoprune", "search", run.source]
    for limit in _limits(settings.get("budget") or {}):
        words += ["--budget", limit]
    for name, value in _aim(settings).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("trials", "seed", "sampler", "rollback"):
        if name in settings:
            words += [f"--{name}", str(settings[name])]
    words += ["--sensitivity" if settings.get("sensitivity", True) else "--no-sensitivity"]
    for folder in settings.get("warm_start") or ():
        words += ["--warm-start", str(folder)]
    return shlex.join([*words, "--out", f"runs/{run.name}-again"])


def _call(run: RunEvidence) -> str:
    settings = run.settings
    given: dict[str, Any] = {"budget": settings.get("budget"), **_aim(settings)}
    given |= {name: settings.get(name) for name in ("trials", "seed", "sampler", "rollback")}
    given |= {"sensitivity": settings.get("sensitivity"), "onnx": settings.get("onnx")}
    given |= {"warm_start": settings.get("warm_start")}
    told = [f"    {name}={value!r}," for name, value in given.items() if value is not None]
    usual = Recovery().to_dict()
    changed = {
        name: value
        for name, value in (settings.get("recovery") or {}).items()
        if name in usual and value != usual[name]
    }
    if changed:
        inner = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        told.append(f"    recovery=autoprune.Recovery({inner}),")
    told.append(f"    out={f'runs/{run.name}-again'!r},")
    return "\n".join(["autoprune.search(", "    model,", "    task=task,", *told, ")"])


def _limits(budget: Mapping[str, Any]) -> list[str]:
    """Return limits as the option takes them; as they stand where a newer version wrote them."""
    try:
        return [written(*one) for one in Budget.parse(budget).limits.items()]
    except InputError:
        return [f"{cost}={limit}" for cost, limit in budget.items()]


def _aim(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked beside the budget: a front, or a drop."""
    if settings.get("pareto"):
        front, points = read_front_text(str(settings["pareto"]))
        return {"pareto": front, "points": points}
    found = _TOLERANCE.fullmatch(str(settings.get("tolerance")))
    return {"max_drop": float(found["drop"]), "minimise": found["cost"]} if found else {}
