"""The ledger of a run, for `autoprune.ledger` and the command of that name."""

from pathlib import Path

from autoprune.agent.housing.workspace import CONFIG, DATABASE, STUDY, database_in, point_hint
from autoprune.core.ledger import LedgerEntry
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.errors import ArtifactError
from autoprune.storage.ledger import Ledger
from autoprune.storage.read_only import opened_to_read


def ledger(folder: str | Path) -> list[LedgerEntry]:
    """Return what became of the decisions that a run examined, oldest first.

    Args:
        folder: Folder of a run, finished or not.

    Raises:
        ArtifactError: If there is no run in it, or it has an outcome of a newer autoprune.
        ConfigError: If a newer autoprune wrote its database.
        OutputError: If its database cannot be read.
    """
    return ledger_and_yardstick(folder)[0]


def ledger_and_yardstick(folder: str | Path) -> tuple[list[LedgerEntry], Yardstick]:
    """Return the ledger, and how its qualities are to be read; see `ledger`."""
    file = database_in(Path(folder))
    if file is None:
        point = point_hint(Path(folder))
        raise ArtifactError(
            f"There is no run in {folder}: it holds no {DATABASE} and {CONFIG}.{point} "
            "Give the folder that a search wrote (--out)."
        )
    with opened_to_read(file) as database:
        run = database.find_run(STUDY)
        if run is None:
            return [], Yardstick()
        return Ledger(database, run.id).entries(), Yardstick.of(run.kept.get(YARDSTICK, {}))
