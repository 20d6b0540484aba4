"""States of a training that can be gone back to."""

from collections.abc import Mapping
from typing import Any

GOOD_EVERY = 10  # steps from one state that is kept to the next


class GoodStates:
    """Keeps the first state and the last one from which a step could be taken."""

    def __init__(self) -> None:
        self._kept: list[dict[str, Any]] = []
        self._fresh: dict[str, Any] | None = None
        self._furthest = -1

    def due(self, done: int) -> bool:
        """Tell whether to offer the state after ``done`` steps; none is offered twice."""
        first = not self._kept and self._fresh is None
        return (first or done % GOOD_EVERY == 0) and done > self._furthest

    def offer(self, state: dict[str, Any]) -> None:
        """Take a state that is not yet known to be good."""
        self._fresh, self._furthest = state, state["done"]

    def confirm(self) -> None:
        """Keep what was offered last: a step could be taken from it."""
        if self._fresh is not None:
            self._kept[1:], self._fresh = [self._fresh], None

    def back(self) -> dict[str, Any] | None:
        """Return where to go back to: the last one kept, and if that was no help the first."""
        self._fresh = None
        if len(self._kept) > 1:
            return self._kept.pop()
        return self._kept[0] if self._kept else None

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, for another process."""
        return {"kept": list(self._kept), "fresh": self._fresh, "furthest": self._furthest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep what another one kept, in place of what is kept here."""
        self._kept, self._fresh = list(state["kept"]), state["fresh"]
        self._furthest = state["furthest"]

    def only(self, state: dict[str, Any]) -> None:
        """Forget all but a state that is good."""
        self._kept, self._fresh, self._furthest = [state], None, state["done"]

    def clear(self) -> None:
        """Forget all: training is over."""
        self._kept, self._fresh = [], None
