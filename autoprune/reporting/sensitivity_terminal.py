"""What a terminal shows of a sensitivity table: every probe, the most sensitive unit last."""

from rich.console import Console

from autoprune.evaluation.probing.sensitivity import Entry, Sensitivity
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import count_text

_FIGURES = ("atoms", "sparsity", "loss given up", "noise")


def print_sensitivity(found: Sensitivity, console: Console | None = None) -> None:
    """Print every probe by unit, and what all of them cost."""
    console = console or standard_output()
    metric = f"change of {found.metric}"
    columns = ("unit", "kind", "atoms", "method", *_FIGURES[1:], metric, "")
    rows = table("Each unit cut alone, not trained", *columns, right=(*_FIGURES, metric))
    for unit in by_sensitivity(found):
        own = [entry for entry in found.entries if entry.unit == unit]
        for number, entry in enumerate(own):
            rows.add_row(*_unit(entry, number == 0), *_figures(entry, found))
    console.print(rows)
    console.print(_summary(found), soft_wrap=True)


def by_sensitivity(found: Sensitivity) -> list[str]:
    """Return the units, those last that give up most over all levels with their best method."""
    given_up = {u: float(found.errors[u][found.best_method(u)].mean()) for u in found.errors}
    return sorted(given_up, key=lambda unit: (given_up[unit], unit))


def _unit(entry: Entry, first: bool) -> tuple[str, ...]:
    named = (entry.unit, entry.kind, str(entry.atoms)) if first else ("", "", "")
    return (*named, entry.method, f"{entry.sparsity:.1%}")


def _figures(entry: Entry, found: Sensitivity) -> tuple[str, ...]:
    if entry.given_up is None or entry.quality is None:
        return "", "", "", f"failed: {entry.reason}"
    moved = found.yardstick.change(found.dense_quality, entry.quality)
    return f"{entry.given_up:+.4f}", f"± {entry.stderr:.4f}", moved, ""


def _summary(found: Sensitivity) -> str:
    quality = found.yardstick.text(found.dense_quality)
    dense = f"Dense: loss {found.dense_loss:.4f}, {found.metric} {quality}"
    probes = f"{len(found.entries)} probes on {found.samples} samples"
    if not found.probed:
        return f"{dense}. {probes}, all known from before: nothing was measured."
    cost = f"{count_text(round(found.sample_forwards))} sample forwards, {found.seconds:.0f} s"
    known = len(found.entries) - found.probed
    return f"{dense}. {probes}, {known} of them known from before: {cost} of computing."
