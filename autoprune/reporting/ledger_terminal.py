"""The ledger of a run for a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from autoprune.artifacts.result import Rolledback
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.reporting.tables import standard_output, table
from autoprune.reporting.text import change_text, count_text

_NUMBERS = ("regret", "expected", "quality", "p")


def print_ledger(entries: Sequence[LedgerEntry]) -> None:
    """Print every decision that was examined and what it came to, on standard output."""
    console = standard_output()
    console.print(_rows(entries))
    console.print(Text(totals_line(Rolledback.of(entries))), soft_wrap=True)


def totals_line(totals: Rolledback) -> str:
    """Return what rollback came to, in one sentence."""
    if not totals.examined:
        return "No decision was examined."
    together = f" ({totals.together} harmful only together)" if totals.together else ""
    return (
        f"{totals.examined} decisions examined, {totals.reverted} reverted{together}, "
        f"{100 * totals.quality_regained:+.1f} points of quality regained on the search split, "
        f"{count_text(round(totals.sample_forwards))} sample forwards."
    )


def _rows(entries: Sequence[LedgerEntry]) -> Table:
    rows = table(
        "Decisions examined, by regret: score given up (higher is worse)",
        *("decision", "alternative", "paid by", *_NUMBERS, "outcome"),
        right=_NUMBERS,
    )
    for entry in entries:
        good = entry.outcome is Outcome.REVERTED
        rows.add_row(
            Text("\n".join(_decision(entry))),
            Text("\n".join(_alternative(entry))),
            Text("\n".join(_paid(entry))),
            _number(entry.regret),
            _number(entry.expected_regret),
            _quality(entry),
            "" if entry.p_value is None else f"{entry.p_value:.2g}",
            Text(entry.outcome.value, style="green" if good else ""),
        )
    return rows


def _decision(entry: LedgerEntry) -> list[str]:
    step = [f"step {entry.step} of the progressive run"] if entry.step else []
    return [*step, *(decision_text(entry.policy, unit) for unit in entry.units)]


def decision_text(policy: Policy, unit: str) -> str:
    """Return what a policy does to a unit, in a few words."""
    return f"{unit}: {_choice(policy.get(unit))}"


def _alternative(entry: LedgerEntry) -> list[str]:
    blank = [""] if entry.step else []
    return [*blank, *(_choice(entry.alternative.get(unit)) for unit in entry.units)]


def _paid(entry: LedgerEntry) -> list[str]:
    changes = (
        f"{unit}: {_choice(entry.policy.get(unit))} to {_choice(entry.alternative.get(unit))}"
        for unit in entry.paid_by
    )
    return list(changes) or ["nobody"]


def _choice(choice: Choice | None) -> str:
    return "untouched" if choice is None else f"{choice.sparsity:.0%} by {choice.method}"


def _quality(entry: LedgerEntry) -> str:
    after = entry.quality_after
    return "" if after is None else change_text(entry.quality_before, after)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
