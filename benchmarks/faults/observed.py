"""``python -m benchmarks.faults.observed``: the command ``autoprune``, and a journal beside it.

Everything runs as it always does. Three methods are wrapped so that each process appends a line
to one file of its own keeping, which no database knows of:

* ``began`` and ``ended`` are written by the process that scores, before a score and as soon as it
  is there: a worker has not sent it to anybody yet.
* ``stored`` is written by the process that keeps the books, after the database has committed.

A process that is killed between ``ended`` and ``stored`` takes a score with it that nobody was
told of; see `journal.done_twice` for what is made of that.
"""

import json
import os
import select
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, SupportsIndex

FAKED = "FAKETIME_TIMESTAMP_FILE"  # set where the clock jumps
JOURNAL = "AUTOPRUNE_FAULTS_JOURNAL"  # names the file, in the environment


def observe() -> None:
    """Wrap what is observed, in this process and those that it forks; Ray calls it in its own."""
    from autoprune.agent.evaluating.evaluations import Evaluations
    from autoprune.agent.housing.presence import Presence
    from autoprune.evaluation.scoring.scorer import Scorer

    _wrap(Scorer, "score", _scored)
    _wrap(Evaluations, "keep_all", _kept)
    _wrap(Presence, "noting", _noting)


def main() -> None:
    """Run the command line of autoprune."""
    from autoprune.cli.main import main as autoprune

    _write("started")
    if FAKED in os.environ:
        time.sleep = _sleep
    observe()
    autoprune()


def _sleep(seconds: SupportsIndex | float) -> None:
    """Sleep for so long; Python asks for a moment of the monotonic clock, where libfaketime errs.

    It takes the jump of the wall clock off that moment too, whose number may be negative then.
    """
    select.select((), (), (), float(seconds))


def _wrap(kind: type, name: str, around: Callable[..., Any]) -> None:
    method = getattr(kind, name)

    @wraps(method)
    def observed(*words: Any, **settings: Any) -> Any:
        return around(method, *words, **settings)

    setattr(kind, name, observed)


def _scored(score: Callable[..., Any], scorer: Any, policy: Any, *words: Any) -> Any:
    _write("began", policy.fingerprint)
    found = score(scorer, policy, *words)
    _write("ended", policy.fingerprint)
    return found


def _kept(keep_all: Callable[..., Any], evaluations: Any, found: Any) -> Any:
    stored = keep_all(evaluations, found)
    for one in stored:
        _write("stored", one.policy.fingerprint)
    return stored


def _noting(noting: Callable[..., Any], presence: Any, progress: Callable[[Any], None]) -> Any:
    told = noting(presence, progress)

    def staged(event: Any) -> None:
        _write(event.stage)
        told(event)

    return staged


def _write(what: str, policy: str = "") -> None:
    """Append a line; a line is written whole or not at all, whoever else writes."""
    line = {"what": what, "process": os.getpid(), "parent": os.getppid(), "policy": policy}
    file = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(file)


if __name__ == "__main__":
    main()
