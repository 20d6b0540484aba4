"""Tables and fits as plain JSON types, so that a resumed run prices as it did before."""

from collections.abc import Mapping
from typing import Any

from autoprune.core.mappings import differing
from autoprune.cost.latency.device import Device
from autoprune.cost.latency.grid import Grid
from autoprune.cost.latency.model import Fit
from autoprune.errors import ConfigError


def to_dict(
    device: Device, steps: tuple[int, int], grids: Mapping[str, Grid], fit: Fit
) -> dict[str, Any]:
    """Return what a latency model was made of."""
    return {
        "device": {"fingerprint": device.fingerprint, "facts": dict(device.facts)},
        "steps": list(steps),
        "fit": {"weights": list(fit.weights), "error": fit.error, "models": fit.models},
        "grids": {key: _grid(grid) for key, grid in grids.items()},
    }


def from_dict(
    saved: Mapping[str, Any], device: Device
) -> tuple[tuple[int, int], dict[str, Grid], Fit]:
    """Return steps, tables and fit.

    Raises:
        ConfigError: If they were measured on another device.
    """
    theirs = saved["device"]["fingerprint"]
    if theirs != device.fingerprint:
        facts = saved["device"]["facts"]
        odd = differing(facts, device.facts)
        raise ConfigError(
            f"The latency table was measured on another device: its fingerprint is {theirs[:12]}, "
            f"this one's {device.fingerprint[:12]}; they differ in {', '.join(odd)}. Go on where "
            "it was measured, or start afresh with --if-exists overwrite."
        )
    grids = {key: _read(grid) for key, grid in saved["grids"].items()}
    fit = saved["fit"]
    finest, coarsest = saved["steps"]
    return (finest, coarsest), grids, Fit(tuple(fit["weights"]), fit["error"], fit["models"])


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "candidates": [list(sizes) for sizes in grid.candidates],
        "lines": [list(lines) for lines in grid.lines],
        "seconds": [[list(sizes), seconds] for sizes, seconds in grid.seconds.items()],
    }


def _read(saved: Mapping[str, Any]) -> Grid:
    seconds = {tuple(sizes): float(value) for sizes, value in saved["seconds"]}
    grid = Grid(saved["candidates"], seconds)
    grid.lines, grid.gaps = [list(lines) for lines in saved["lines"]], []
    return grid
