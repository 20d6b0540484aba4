"""``python -m benchmarks.surgery``: the zoo, the rival, building time and memory."""

import typer

from benchmarks.command import Only, Quick, ReuseOf, State, run
from benchmarks.surgery.figures import figures
from benchmarks.surgery.plan import tasks
from benchmarks.surgery.table import write_table


def main(
    quick: Quick = False, state: State = None, reuse: ReuseOf = "same", only: Only = ""
) -> None:
    """Measure our surgery and Torch-Pruning on the same models. The last line is JSON.

    The full run writes benchmarks/results/surgery.json: every model, and why what failed did.
    """
    run(
        "surgery",
        tasks(quick=quick),
        figures,
        write_table,
        quick=quick,
        state=state,
        reuse=reuse,
        only=only,
    )


if __name__ == "__main__":
    typer.run(main)
