"""Whether a Ray cluster is there, its head and our node of it: without them Ray ends our process.

Calls of Ray that need the head wait for it, and after 60 s Ray ends the process with exit code 1,
some 15 s after the end of the raylet, Ray's process of our node, without a word. We look sooner,
so that whoever runs the search is told that it may go on later.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import ray
from ray.util.client import ray as client

from autoprune.errors import InfrastructureError

T = TypeVar("T")
_LOOK = 5.0  # seconds between two looks while nothing happens
_AGAIN = 1.0  # seconds until one that does not answer is asked again
_PATIENCE = 15.0  # seconds for a head that is started anew; to take leave of one takes long, too
_ANSWER = 3.0  # seconds for one answer
_KEPT = (
    "What was scored before is kept: give the same command again, with --if-exists resume, once "
    "the cluster is there again. One that the search started by itself is started anew."
)


class Head:
    """The head of the cluster that this process is connected to.

    Args:
        answers: Tells whether it answers now.
        node: Tells whether our node of the cluster does; nothing starts that anew.
        clock: Seconds that pass.
        sleep: Lets some pass.
    """

    def __init__(
        self,
        answers: Callable[[], bool],
        node: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._answers, self._node, self._clock, self._sleep = answers, node, clock, sleep
        self._looked = clock()
        self.gone = False

    @classmethod
    def connected(cls) -> "Head":
        """Return that of the cluster; Ray's client is told by Ray, and looks at nothing."""
        if client.is_connected():  # type: ignore[no-untyped-call]
            return cls(lambda: True)
        here = ray.get_runtime_context()
        host, _, port = here.gcs_address.rpartition(":")
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        own = next(one for one in nodes if one["NodeID"] == here.get_node_id())
        return cls(
            partial(_listens, host.strip("[]"), int(port)),
            partial(_listens, own["NodeManagerAddress"], int(own["NodeManagerPort"])),
        )

    def need(self) -> None:
        """Wait until it answers, which is mostly at once.

        Raises:
            InfrastructureError: If it does not for a while, or our node is gone; ``gone`` is
                true from then on.
        """
        if not self._node():
            self.gone = True
            raise InfrastructureError(
                "Ray's process of this node, the raylet, has ended: killed, or memory ran out. "
                f"{_KEPT}"
            )
        until = self._clock() + _PATIENCE
        self._looked = self._clock()
        while not self._answers():
            if self._clock() >= until:
                self.gone = True
                raise InfrastructureError(
                    f"The head of the Ray cluster has not answered for {_PATIENCE:g} s. {_KEPT}"
                )
            self._sleep(_AGAIN)

    def watched(self, look: Callable[[float], list[T]], timeout: float | None) -> list[T]:
        """Return what happened, none if the time is over; the head is looked for meanwhile.

        Args:
            look: Waits for so many seconds at most and returns what happened.
            timeout: Seconds; None for no limit.

        Raises:
            InfrastructureError: If the head is gone.
        """
        until = None if timeout is None else self._clock() + timeout
        while True:
            left = _LOOK if until is None else min(until - self._clock(), _LOOK)
            found = look(max(left, 0.0))
            if found:
                return found
            if self._clock() - self._looked >= _LOOK:
                self.need()
            if until is not None and self._clock() >= until:
                return found


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=_ANSWER):
        return True
    return False
