"""Which trials are worth a note, and what notes have in common."""

from collections.abc import Mapping

from optuna.trial import FrozenTrial

from autoprune.core.ledger import LedgerEntry
from autoprune.core.policy import Policy
from autoprune.core.yardstick import Yardstick
from autoprune.reporting.dashboard.trials import Shown, is_failed, reverted_one
from autoprune.reporting.ledger_terminal import change_by, change_of
from autoprune.reporting.secrets import without_secrets
from autoprune.space.schema import UnitSpace

_MOST = 20  # failed trials that have a note, the last ones
Row = tuple[str, str, str, str]


def notable(shown: Shown) -> dict[int, tuple[FrozenTrial, list[str]]]:
    """Return the trials that are worth a note, by number, and why each is."""
    found: dict[int, tuple[FrozenTrial, list[str]]] = {}

    def note(trial: FrozenTrial, reason: str) -> None:
        found.setdefault(trial.number, (trial, []))[1].append(reason)

    for trial in shown.best:
        note(trial, "Returned" if trial in shown.returned else "Best so far")
    for trial in shown.leading if len(shown.directions) == 1 else ():
        if trial not in shown.best:
            note(trial, "Best score")
    finals = {one.policy.fingerprint: one.outcome for one in shown.facts.finalists}
    failed = [one for one in shown.trials if is_failed(one)][-_MOST:]
    for trial in shown.trials:
        policy = shown.policies.get(trial.number)
        if policy is not None and policy.fingerprint in finals:
            note(trial, f"Finalist, {without_secrets(finals[policy.fingerprint])}")
        if reverted_one(trial):
            note(trial, "Reverted a decision")
        if trial in failed:
            note(trial, "Failed")
        elif trial.state.is_finished() and not shown.is_inside(trial):
            note(trial, "Over the budget")
    return found


def policy_rows(policy: Policy, spaces: Mapping[str, UnitSpace]) -> list[Row]:
    """Return unit, method, sparsity and atoms kept of each unit, untouched ones included."""
    rows = list[Row]()
    for unit in sorted(policy.keys() | spaces.keys()):
        choice = policy.get(unit)
        sparsity = 0.0 if choice is None else choice.sparsity
        atoms = spaces[unit].atoms if unit in spaces else None
        kept = "" if atoms is None else f"{round(atoms * (1 - sparsity))}/{atoms}"
        rows.append((unit, choice.method if choice else "untouched", f"{sparsity:.1%}", kept))
    return rows


def decision(entry: LedgerEntry, yardstick: Yardstick) -> Row:
    """Return what was examined, its regret, how the metric moved, and the outcome."""
    changes = [change_of(unit, entry.policy, entry.alternative) for unit in entry.units]
    regret = "" if entry.regret is None else f"{entry.regret:+.4f}"
    return "; ".join(changes), regret, change_by(entry, yardstick), str(entry.outcome)
