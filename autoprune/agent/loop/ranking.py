"""What was scored, kept in the order of its scores."""

from bisect import bisect_left, insort
from collections import UserDict
from collections.abc import Iterator
from itertools import islice

from autoprune.storage.records import Evaluation


class Scored(UserDict[str, Evaluation]):
    """Evaluations by fingerprint of the policy; those scored to the end are ranked as they come.

    To sort ten thousand after each score would take longer than all else that a driver does.
    """

    def __init__(self) -> None:
        self._order: list[tuple[float, str]] = []  # score and fingerprint, best first
        super().__init__()

    def __setitem__(self, fingerprint: str, evaluation: Evaluation) -> None:
        if fingerprint in self:
            del self[fingerprint]
        super().__setitem__(fingerprint, evaluation)
        if evaluation.score is not None:
            insort(self._order, (evaluation.score, fingerprint))

    def __delitem__(self, fingerprint: str) -> None:
        score = self[fingerprint].score
        super().__delitem__(fingerprint)
        if score is not None:
            del self._order[bisect_left(self._order, (score, fingerprint))]

    def best_first(self) -> Iterator[Evaluation]:
        """Yield what was scored to the end, neither failed nor stopped, best score first."""
        return (self[fingerprint] for _, fingerprint in self._order)

    def latest(self, count: int) -> list[Evaluation]:
        """Return what was scored to the end last, the latest first.

        Args:
            count: How many at most.
        """
        ended = (one for one in reversed(self.data.values()) if one.score is not None)
        return list(islice(ended, count))
