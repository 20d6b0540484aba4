"""What Ray says when something is lost, in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import ObjectLostError, OutOfMemoryError, RayError

from autoprune.errors import InfrastructureError

MOST_STILLBORN = 3  # actors in a row that could not begin, before the cluster is to blame


@contextmanager
def blaming_ray() -> Iterator[None]:
    """Blame the cluster for what Ray raises.

    Raises:
        InfrastructureError: If Ray raised something.
    """
    try:
        yield
    except (RayError, ConnectionError) as err:
        raise gone(err) from None


def gone(err: BaseException) -> InfrastructureError:
    """Return what is raised where the cluster is lost."""
    return InfrastructureError(
        f"The Ray cluster cannot be reached any more ({reason(err)}). What was scored before is "
        "kept: resume when it is there again."
    )


def stillborn(count: int, err: BaseException | str) -> InfrastructureError:
    """Return what is raised where processes cannot begin, so many in a row."""
    return InfrastructureError(
        f"{count} Ray actors in a row could not begin: {reason(err)} What was scored before is "
        "kept. Install on the cluster's nodes what this machine has, or let the runner's "
        "'runtime_env' do it; where memory ran out, have fewer workers or larger nodes."
    )


def end_of(err: RayError) -> str:
    """Return how an actor came to its end."""
    if isinstance(err, ObjectLostError):
        return "lost with its node, and what it had given was not fetched yet"
    if isinstance(err, OutOfMemoryError):
        return "ended by Ray, for the memory of its node ran out"
    return f"ended: {reason(err)}"


def reason(err: BaseException | str) -> str:
    """Return the first lines of what Ray says, without its traces."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return " ".join(lines[:2] if lines else [type(err).__name__])[:300]
