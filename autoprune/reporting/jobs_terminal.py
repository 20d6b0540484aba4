"""Jobs of a scheduler in the terminal."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

from rich.text import Text

from autoprune.reporting.tables import standard_output, table

if TYPE_CHECKING:
    from autoprune.execution.jobs.status import JobStatus


def print_jobs(name: str, found: Sequence["JobStatus"]) -> None:
    """Print what a scheduler knows of a job."""
    console = standard_output()
    if not found:
        console.print(Text(f"The scheduler knows no job {name!r}."))
        return
    made = table(f"Job {name}", "id", "kind", "state", "since", "")
    for one in found:
        made.add_row(*(Text(value) for value in astuple(one)))
    console.print(made)
