"""What a terminal shows of a model's units and of a search space against them."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from autoprune.reporting.inventory import Inventory
from autoprune.reporting.space_check import SpaceCheck, UnitAllowance
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import count_text

_MEANING = (
    "Shares may add to more than 100%: units overlap, as a weight can go with the unit it makes, "
    "the one it reads, and its block. What units, atoms and sealed are: docs/concepts.md."
)


def print_inventory(found: Inventory, console: Console | None = None) -> None:
    """Print the units of a model, what is sealed and what was rejected."""
    console = console or standard_output()
    console.print(_units(found))
    console.print(_MEANING, soft_wrap=True)
    if found.sealed:
        sealed = table("\nSealed: cannot be pruned", "parameter", "dim", "size", "because")
        for entry in found.sealed:
            row = (entry.tensor, str(entry.dim), str(entry.size), entry.reason)
            sealed.add_row(*row)
        console.print(sealed)
    if found.rejected:
        rejected = table("\nRejected by verification", "unit", "because")
        for name, reason in found.rejected.items():
            rejected.add_row(name, reason)
        console.print(rejected)
    layers = count_text(found.layer_params)
    console.print(
        f"\n{len(found.units)} units. {found.prunable:.1%} of the {layers} parameters in "
        "convolutions and linear layers can be pruned.",
        soft_wrap=True,
    )
    for note in found.notes:
        console.print(note, soft_wrap=True)


def _units(found: Inventory) -> Table:
    right = ("atoms", "params", "share")
    rows = table("Units", "unit", "atoms", "made by", "read by", "params", "share", right=right)
    for unit in found.units:
        layers = (_layers(unit.makers), _layers(unit.readers))
        if unit.kind == "block":
            layers = ("the whole block", "")
        figures = (count_text(unit.params), f"{unit.share:.1%}")
        rows.add_row(unit.name, str(unit.atoms), *layers, *figures)
    return rows


def _layers(places: Iterable[str]) -> str:
    """Return the first of the modules that own some ``tensor[dim]``, and how many more."""
    modules = list(dict.fromkeys(place.partition("[")[0].rpartition(".")[0] for place in places))
    more = f" +{len(modules) - 1}" if len(modules) > 1 else ""
    return f"{modules[0] or 'the model'}{more}" if modules else "no weight"


def print_space_check(found: SpaceCheck, console: Console | None = None) -> None:
    """Print what a search space allows for each unit."""
    console = console or standard_output()
    free = [unit for unit in found.units if unit.left_out is None]
    every = {unit.methods for unit in free}
    columns = ("unit", "atoms", "atoms kept", *(("methods",) if len(every) > 1 else ()))
    rows = table("What may be chosen", *columns, right=("atoms",))
    for unit in found.units:
        cells = (unit.unit, str(unit.atoms), _choices(unit), ", ".join(unit.methods))
        rows.add_row(*cells[: len(columns)])
    console.print(rows)
    for methods in every if len(every) == 1 else ():
        console.print(f"\nMethods: {', '.join(methods)}.")
    digits = len(str(found.policies)) - 1
    console.print(f"{len(free)} of {len(found.units)} units may be pruned: 10^{digits} policies.")


def _choices(unit: UnitAllowance) -> str:
    if unit.left_out is not None:
        return f"({unit.left_out})"
    shown = [str(number) for number in unit.kept]
    return " ".join(shown if len(shown) < 9 else [*shown[:4], "...", *shown[-3:]])
