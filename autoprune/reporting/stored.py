"""What the database holds of a run, read at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from autoprune.core.ledger import LedgerEntry
from autoprune.reporting.aimed_limits import AimedLimits
from autoprune.storage.checkpoints import Checkpoints
from autoprune.storage.database import Database
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation, Run
from autoprune.storage.told import told_of_study, told_trials


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the database holds of a run.

    Args:
        kept: What it keeps, by name.
        evaluations: What it scored and trained.
        limits: Its limits.
        trials: Trials of its study, with their parameters if anything was measured.
        ledger: Decisions that were examined.
        progressive: What its progressive runs took.
    """

    kept: Mapping[str, Any]
    evaluations: Sequence[Evaluation]
    limits: AimedLimits
    trials: Sequence[FrozenTrial]
    ledger: Sequence[LedgerEntry]
    progressive: Mapping[str, float]

    @classmethod
    def of(cls, database: Database, run: Run, study: str) -> "Stored":
        """Read what there is of a run; ``study`` is the name of its study."""
        limits = AimedLimits(told=told_of_study(database, study), config=run.config)
        return cls(
            kept=run.kept,
            evaluations=database.evaluations(run.id),
            limits=limits,
            trials=told_trials(database, study, with_params=bool(limits.measured)),
            ledger=Ledger(database, run.id).entries(),
            progressive={
                what: Checkpoints.spent(database, run.id, what)
                for what in ("seconds", "sample_forwards")
            },
        )
