"""How an evaluation may end."""

from collections.abc import Iterator
from contextlib import contextmanager

from autoprune.core.user_code import blame
from autoprune.errors import CandidateError, InputError, OutOfMemoryError
from autoprune.storage.records import Evaluation

SCORED, STOPPED, FAILED = "scored", "stopped", "failed"  # of candidates
RECOVERED, OUTRUN = "recovered", "outrun"  # of finalists


def is_stopped(evaluation: Evaluation) -> bool:
    """Tell whether an evaluation was stopped early."""
    return evaluation.outcome.startswith(STOPPED)


def was_free(evaluation: Evaluation) -> bool:
    """Tell whether somebody else paid for a score."""
    return evaluation.sample_forwards == 0 and not evaluation.outcome.startswith(FAILED)


@contextmanager
def candidate_errors() -> Iterator[None]:
    """Blame the candidate for whatever its training raises, unless the user can mend it.

    Raises:
        CandidateError: If the user's forward, which may raise anything, did so.
        OutOfMemoryError: If memory ran out, which is not the candidate's fault.
    """
    import torch  # here: who only reads what became of evaluations does without it

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as err:
        raise OutOfMemoryError(
            f"Memory ran out while a candidate was trained: {blame(err)} Lower the batch size "
            "of the loaders. What was scored before is kept."
        ) from err
    except (InputError, CandidateError):
        raise
    except Exception as err:
        raise CandidateError(blame(err)) from err
