"""``autoprune ledger``: a thin client of `autoprune.ledger`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoprune.cli.streams import echo, stdout_to_stderr

if TYPE_CHECKING:
    from autoprune.core.ledger import LedgerEntry


def ledger(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
) -> None:
    """Show which decisions of a run's best policies were examined, and what became of them.

    A decision is what a policy does to one unit, or to two together. Its regret is the score
    that an alternative inside the budget was better by; it is reverted if a paired test on the
    same samples says that this is not noise.
    """
    with stdout_to_stderr():
        from autoprune.ledger_api import ledger_and_yardstick

        entries, yardstick = ledger_and_yardstick(run)
    if as_json:
        echo(json.dumps(_content(entries), indent=2))
        return
    from autoprune.reporting.ledger_terminal import print_ledger

    print_ledger(entries, yardstick)


def _content(entries: "list[LedgerEntry]") -> dict[str, Any]:
    from autoprune.artifacts.result import Rolledback

    return {
        "schema": 1,
        "totals": Rolledback.of(entries).model_dump(),
        "entries": [entry.to_dict() for entry in entries],
    }
