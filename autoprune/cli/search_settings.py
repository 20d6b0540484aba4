"""What ``autoprune search`` is asked for: a search file, and the options that win over it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.core.paths import at_home
from autoprune.errors import ConfigError

if TYPE_CHECKING:
    from autoprune.execution.config import SearchFile


def settings_of(file: Path, given: dict[str, Any]) -> "SearchFile":
    """Return the search file with what was given on the command line in place of its own."""
    from autoprune.core.budget import Budget
    from autoprune.core.pareto import Pareto
    from autoprune.core.tolerance import check_max_drop, parse_cost
    from autoprune.execution.config import load_search_file, parse_timeout, parse_workers

    changes = {key: value for key, value in given.items() if value is not None and value != []}
    parsers: dict[str, Callable[[Any], Any]]
    parsers = {"budget": Budget.parse, "timeout": parse_timeout, "pareto": Pareto.parse}
    parsers |= {"max_drop": check_max_drop, "minimise": parse_cost}
    parsers |= {"workers": parse_workers, "runner": _from_here, "out": at_home}
    changes |= {key: parse(changes[key]) for key, parse in parsers.items() if key in changes}
    settings = load_search_file(file).model_copy(update=changes)
    _check_together(settings, changes)
    return settings


def seconds_of(given: str | None, what: str) -> float | None:
    """Return the seconds of a time like ``90s``, ``10m`` or ``6h``; None if it is not given.

    Raises:
        ConfigError: If it is no time above 0, or has no unit: who writes 6 may mean hours.
    """
    from autoprune.core.numbers import parse_duration

    if given is None:
        return None
    if given.strip().replace(".", "", 1).isdigit():
        raise ConfigError(f"{what} {given} has no unit. Write {given}s, {given}m or {given}h.")
    return parse_duration(given, what)


def _from_here(runner: str) -> str:
    """Return a runner that was named on the command line: its path starts at this folder."""
    scheme, colon, rest = runner.partition(":")
    return f"file:{at_home(rest).absolute()}" if colon and scheme == "file" else runner


def _check_together(settings: "SearchFile", changes: Mapping[str, Any]) -> None:
    """Refuse settings that are no question together."""
    file, aims = settings.path, (settings.pareto, settings.max_drop)
    try:
        settings.recovery.check_effect()
    except ConfigError as err:
        raise ConfigError(f"{file}: {err}") from err
    if settings.budget is None and aims == (None, None):
        raise ConfigError(
            f"{file}: the key 'budget' is missing; or give 'pareto' or --pareto, or 'max_drop' or "
            "--max-drop."
        )
    if None not in aims:
        raise ConfigError(
            f"{file}: --max-drop (key 'max_drop') searches the one smallest model within a drop, "
            "--pareto (key 'pareto') several models along a front. Give one of them."
        )
    if "points" in changes and settings.pareto is None:
        raise ConfigError("--points is about a front. Give --pareto as well, or leave it out.")
    if settings.minimise is not None and settings.max_drop is None:
        raise ConfigError(
            f"{file}: --minimise (key 'minimise') says what is to be low within a drop. Give "
            "--max-drop (key 'max_drop') as well, or leave it out."
        )


def limits_of(settings: "SearchFile") -> dict[str, Any]:
    """Return what `api.search` is told of the limits."""
    if settings.pareto is not None:
        return {"budget": settings.budget, "pareto": settings.pareto, "points": settings.points}
    if settings.max_drop is None:
        return {"budget": settings.budget}
    drop = {"max_drop": settings.max_drop, "minimise": settings.minimise}
    return {"budget": settings.budget, **drop}
