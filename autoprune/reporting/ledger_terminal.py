"""The ledger of a run for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoprune.artifacts.result import Rolledback
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.core.yardstick import Yardstick
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import count_text

_NUMBERS = ("regret", "expected", "change")
_LEGEND = (
    "regret: score that the decision gave away against it, above 0 where it did harm; expected: "
    "as predicted; change: of {metric} on the search split, by the alternative"
)
_WHO = (
    "Only the sampler budgeted examines some, while its predictions are trusted, and "
    "progressive runs examine their steps."
)


def print_ledger(
    entries: Sequence[LedgerEntry], yardstick: Yardstick, console: Console | None = None
) -> None:
    """Print every decision that was examined and what it came to, on standard output."""
    console = console or standard_output()
    if not entries:
        console.print(f"{totals_line(Rolledback(), yardstick)} {_WHO}", soft_wrap=True)
        return
    console.print(_rows(entries, yardstick))
    console.print(Text(_LEGEND.format(metric=yardstick.metric), style="dim"))
    for outcome in Outcome:
        if any(one.outcome is outcome for one in entries):
            said = outcome.value.removeprefix(f"{word_of(outcome)}: ")
            console.print(Text(f"{word_of(outcome)}: {said}", style="dim"), soft_wrap=True)
    far = sum(one.outcome is Outcome.TOO_FAR for one in entries)
    steps = f" Steps of progressive runs that went too far: {far}." if far else ""
    console.print(Text(totals_line(Rolledback.of(entries), yardstick) + steps), soft_wrap=True)


def totals_line(totals: Rolledback, yardstick: Yardstick) -> str:
    """Return what rollback came to, in one sentence."""
    if not totals.examined:
        return "No decision was examined."
    together = f" ({totals.together} harmful only together)" if totals.together else ""
    plural = "" if totals.examined == 1 else "s"
    moved = f"{yardstick.metric} on the search split {yardstick.gain(totals.quality_regained)}"
    return (
        f"{totals.examined} decision{plural} examined, {totals.reverted} reverted{together}, "
        f"{f'{moved} by that, ' if totals.reverted else ''}"
        f"{count_text(round(totals.sample_forwards))} sample forwards."
    )


def _rows(entries: Sequence[LedgerEntry], yardstick: Yardstick) -> Table:
    steps = ("step",) if any(entry.step for entry in entries) else ()
    columns = (*steps, "decision, to what instead", *_NUMBERS, "outcome")
    rows = table("Decisions examined, oldest first", *columns, right=(*steps, *_NUMBERS))
    for entry in entries:
        good = entry.outcome is Outcome.REVERTED
        rows.add_row(
            *(str(entry.step or "") for _ in steps),
            Text("\n".join(changes_of(entry))),
            _number(entry.regret),
            _number(entry.expected_regret),
            change_by(entry, yardstick),
            Text(word_of(entry.outcome), style="green" if good else ""),
        )
    return rows


def word_of(outcome: Outcome) -> str:
    """Return an outcome in a word or two."""
    return outcome.name.lower().replace("_", " ")


def changes_of(entry: LedgerEntry) -> list[str]:
    """Return what the alternative does in another way, a line for each unit."""
    before, after = entry.policy, entry.alternative
    own = [change_of(unit, before, after) for unit in entry.units]
    return [*own, *(f"  paid by {change_of(unit, before, after)}" for unit in entry.paid_by)]


def change_of(unit: str, before: Policy, after: Policy) -> str:
    """Return what two policies do to a unit, in a few words."""
    old, new = before.get(unit), after.get(unit)
    if old and new and old.method == new.method:
        return f"{unit}: {old.sparsity:.0%} to {new.sparsity:.0%} by {old.method}"
    return f"{unit}: {_choice(old)} to {_choice(new)}"


def _choice(choice: Choice | None) -> str:
    return "untouched" if choice is None else f"{choice.sparsity:.0%} by {choice.method}"


def change_by(entry: LedgerEntry, yardstick: Yardstick) -> str:
    """Return how the metric moved by the alternative; empty where that was not scored."""
    after = entry.quality_after
    return "" if after is None else yardstick.change(entry.quality_before, after)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"
