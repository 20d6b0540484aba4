"""How a run is done again: the command, or the call where no search file is known."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from autoprune._resources import names
from autoprune.core.budget import Budget
from autoprune.core.limit import limit_text
from autoprune.core.pareto import read_front_text
from autoprune.core.recovery import Recovery
from autoprune.errors import InputError
from autoprune.reporting.evidence import RunEvidence
from autoprune.space.loader import FOLDER, load_space

_TOLERANCE = re.compile(r"lowest (?P<cost>.+) within (?P<drop>\S+)(?: points?)?")
_BELOW = "under 'All settings'"


def command(run: RunEvidence) -> str:
    """Return the command that asks for the same, or the Python call, settings spelt out."""
    return _command(run) if run.source else _call(run)


def limits_written(budget: Mapping[str, Any]) -> list[str]:
    """Return limits as the option takes them; as they stand where a newer version wrote them."""
    try:
        return [limit_text(*one) for one in Budget.parse(budget).limits.items()]
    except InputError:
        return [f"{cost}={limit}" for cost, limit in budget.items()]


def _command(run: RunEvidence) -> str:
    settings, session = run.settings, _session(run)
    words = ["autoprune", "search", run.source]
    for limit in limits_written(settings.get("budget") or {}):
        words += ["--budget", limit]
    for name, value in _aim(settings).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("trials", "seed", "sampler", "rollback"):
        if name in settings:
            words += [f"--{name}", str(settings[name])]
    words += ["--sensitivity" if settings.get("sensitivity", True) else "--no-sensitivity"]
    for folder in settings.get("warm_start") or ():
        words += ["--warm-start", str(folder)]
    for name in ("runner", "workers"):
        if session.get(name):
            words += [f"--{name}", str(session[name])]
    if session.get("timeout") is not None:
        words += ["--timeout", f"{session['timeout']}s"]
    return shlex.join([*words, "--out", f"runs/{run.name}-again"])


def _session(run: RunEvidence) -> Mapping[str, Any]:
    """Return what the last one was told who did not just help; empty if that is not known."""
    own = (one for one in reversed(run.sessions) if not one.get("joined"))
    return next(own, {})


def _call(run: RunEvidence) -> str:
    told = [f"    {line}" for line in (*_plain(run), *_objects(run))]
    told.append(f"    out={f'runs/{run.name}-again'!r},")
    return "\n".join(["autoprune.search(", "    model,", "    task=task,", *told, ")"])


def _plain(run: RunEvidence) -> Iterator[str]:
    """Yield the arguments that are written as they are."""
    settings, session = run.settings, _session(run)
    given: dict[str, Any] = {"budget": settings.get("budget"), **_aim(settings)}
    given |= {name: settings.get(name) for name in ("trials", "seed", "sampler", "rollback")}
    given |= {name: settings.get(name) for name in ("sensitivity", "onnx", "warm_start")}
    given |= {name: session.get(name) for name in ("workers", "timeout")}
    yield from (f"{name}={value!r}," for name, value in given.items() if value is not None)


def _objects(run: RunEvidence) -> Iterator[str]:
    """Yield the arguments that may be objects; a comment says of such a one where it is."""
    settings, session = run.settings, _session(run)
    usual = Recovery().to_dict()
    kept = (settings.get("recovery") or {}).items()
    changed = [f"{name}={value!r}" for name, value in kept if usual.get(name, value) != value]
    if changed:
        yield f"recovery=autoprune.Recovery({', '.join(changed)}),"
    if settings.get("space"):
        name = _shipped(settings["space"])
        yield f"space={name!r}," if name else f"space=space,  # an object: {_BELOW}"
    if settings.get("recover"):
        name = str(settings["recover"])
        importable = "<" not in name and not name.startswith("__main__")
        yield f"recover={name!r}," if importable else f"recover=recover,  # {name}"
    if session.get("runner"):
        yield f"runner={session['runner']!r},"
    elif session:
        yield f"runner=runner,  # an object of kind {session.get('kind')}"


def _shipped(space: Mapping[str, Any]) -> str | None:
    """Return the name of the shipped space that is the same, None if none is."""
    return next((name for name, one in _spaces().items() if one == space), None)


@cache
def _spaces() -> dict[str, dict[str, Any]]:
    found = {name: load_space(name) for name in names(FOLDER, ".yaml")}
    return {name: one.model_dump(mode="json", by_alias=True) for name, one in found.items()}


def _aim(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked beside the budget: a front, or a drop."""
    if settings.get("pareto"):
        front, points = read_front_text(str(settings["pareto"]))
        return {"pareto": front, "points": points}
    found = _TOLERANCE.fullmatch(str(settings.get("tolerance")))
    return {"max_drop": float(found["drop"]), "minimise": found["cost"]} if found else {}
