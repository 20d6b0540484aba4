"""What public functions are given in one of several forms, in the one that is worked with."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from autoprune.core.progress import ProgressCallback
from autoprune.execution.runners import SearchRunner, load_runner
from autoprune.methods import find_method
from autoprune.reporting.progress import progress_for
from autoprune.space.loader import load_space
from autoprune.space.schema import SearchSpace


def space_of(given: str | SearchSpace) -> SearchSpace:
    """Return a search space by its name, its ``"file:PATH"``, or as it is.

    Raises:
        ConfigError: If there is no such space, or no such method as one that it names.
    """
    space = load_space(given) if isinstance(given, str) else given
    for method in space.all_methods:
        find_method(method)
    return space


def runner_of(given: str | SearchRunner) -> SearchRunner:
    """Return a runner by its name, its ``"file:PATH"``, or as it is.

    Raises:
        ConfigError: If there is no such runner, or it is for jobs.
    """
    return load_runner(given) if isinstance(given, str) else given


def shown_by(given: ProgressCallback | None) -> AbstractContextManager[ProgressCallback]:
    """Return who is told of progress for as long as a block lasts; None shows a bar."""
    return progress_for() if given is None else nullcontext(given)


def database_of(given: str | Path | None) -> str | None:
    """Return URL or file of a database as a text, None where none is given."""
    return None if given is None else str(given)
