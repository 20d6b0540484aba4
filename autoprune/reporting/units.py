"""What is known of each unit of a pruned model, from all that a run kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoprune.artifacts.result import Result, UnitCut
from autoprune.core.ledger import LedgerEntry
from autoprune.reporting.evidence import Sensed
from autoprune.reporting.ledger_terminal import word_of
from autoprune.reporting.text import count_text


@dataclass(frozen=True, kw_only=True)
class UnitFacts:
    """One unit.

    Args:
        unit: Its name.
        method: How it was cut; None where it was not.
        atoms: Its atoms in the dense model.
        kept: Those that are left.
        macs_saved: Multiply-adds that it saves by itself; None if that was not written down.
        dense_macs: Those of the dense model.
        sensitivity: Loss that the choice gives up by the sensitivity table, not trained; None if
            that is not known.
        examined: The last decision about this unit alone that was examined; None if none was.
    """

    unit: str
    method: str | None
    atoms: int
    kept: int
    macs_saved: int | None
    dense_macs: int
    sensitivity: float | None
    examined: LedgerEntry | None

    @property
    def kept_share(self) -> float:
        """Share of its atoms that is left."""
        return self.kept / self.atoms if self.atoms else 1.0

    @property
    def told(self) -> list[tuple[str, str]]:
        """What is shown of it: a name and a text each, the text empty if it is not known."""
        return [
            ("method", self.method or "untouched"),
            ("atoms kept", f"{self.kept:,} of {self.atoms:,} ({self.kept_share:.0%})"),
            ("MACs saved", self._saved()),
            ("sensitivity", "" if self.sensitivity is None else f"{self.sensitivity:+.4f} loss"),
            ("regret", self._regret()),
        ]

    def _saved(self) -> str:
        if self.macs_saved is None:
            return ""
        share = self.macs_saved / self.dense_macs if self.dense_macs else 0.0
        return f"{count_text(self.macs_saved)} ({share:.1%} of dense)"

    def _regret(self) -> str:
        if self.examined is None or self.examined.regret is None:
            return ""
        return f"{self.examined.regret:+.4f} ({word_of(self.examined.outcome)})"


def unit_facts(result: Result, sensed: Sensed, ledger: Sequence[LedgerEntry]) -> list[UnitFacts]:
    """Return what is known of each unit, in the order in which the model runs them.

    Args:
        result: The result.
        sensed: The sensitivity table.
        ledger: Decisions that were examined, oldest first.
    """
    alone = {one.units[0]: one for one in ledger if len(one.units) == 1}
    return [
        UnitFacts(
            unit=cut.unit,
            method=cut.method,
            atoms=cut.atoms,
            kept=cut.kept,
            macs_saved=cut.macs_saved,
            dense_macs=result.dense.macs,
            sensitivity=_sensitivity(cut, result, sensed),
            examined=alone.get(cut.unit),
        )
        for cut in result.cuts
    ]


def _sensitivity(cut: UnitCut, result: Result, sensed: Sensed) -> float | None:
    choice = result.policy.get(cut.unit)
    return None if choice is None else sensed.at(cut.unit, choice.method, choice.sparsity)
