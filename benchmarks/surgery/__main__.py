"""``python -m benchmarks.surgery``: the zoo, the rival, building time and memory."""

import typer

from benchmarks.command import command
from benchmarks.surgery.figures import figures
from benchmarks.surgery.plan import tasks
from benchmarks.surgery.table import write_table

main = command(
    "surgery",
    "Measure our surgery and Torch-Pruning on the same models.",
    tasks,
    figures,
    write_table,
)


if __name__ == "__main__":
    typer.run(main)
