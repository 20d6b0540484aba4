"""What ``result.json`` says of a search for the smallest model within a drop of quality."""

from typing import Literal

from autoprune.artifacts.record import Record

Ended = Literal["narrow", "trials", "time"]


class LimitTried(Record):
    """One limit and the best model that was found at it, fine-tuned.

    ``drop`` is on the search split; ``share``: what the model costs as a share of the
    dense one. Both are null where none was found, and ``reason`` says why. ``evaluations``:
    policies that were scored for this limit; those before count as well if they are inside.
    """

    limit: str
    within: bool
    drop: float | None
    share: float | None
    evaluations: int
    reason: str = ""


class Goal(Record):
    """What was asked for and found.

    Drops are in points, 100 x the task's metric; where the result says that the metric is no share
    (``is_share``), in the unit of the metric. Below 0 the quality rose.

    ``drop_search`` decided, ``drop_test`` was measured once, at the end. ``standard_error`` is
    that of ``drop_search``, from paired differences of parts of the split; null without parts.
    ``ended``: the limits that failed and held are close (``narrow``), or the ``trials`` or the
    ``time`` were used up. ``trials``: as many were asked for. ``limits``: in the order tried.
    """

    max_drop: float
    minimise: str
    drop_search: float
    drop_test: float
    standard_error: float | None
    ended: Ended
    trials: int
    limits: list[LimitTried]
