"""This process among those that share a database: it shows that it lives, and sees who does."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from autoprune.agent.housing.heart import BEAT, Heart
from autoprune.core.processes import runs_here, this_host, this_process
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.errors import AutopruneError, ElsewhereError
from autoprune.storage.agents import Agent, Agents

PATIENCE = 60.0  # seconds without one, after which an agent is taken for dead


class Presence:
    """An agent of a database, for as long as the block lasts.

    Others are dead if their process is gone from this machine, or if they were not seen to beat
    for `PATIENCE` seconds of our own clock, which no jump of any wall clock changes.

    Args:
        agents: Where agents show that they live.
        run_id: The run it works on.
        heart: What shows on this machine that it lives; its status is told by beats, too.
        beat: Seconds from one beat to the next.
        patience: Seconds without a beat, after which an agent is taken for dead.
    """

    def __init__(
        self,
        agents: Agents,
        run_id: int | None,
        heart: Heart,
        *,
        beat: float = BEAT,
        patience: float = PATIENCE,
    ) -> None:
        self._agents, self._run, self._heart = agents, run_id, heart
        self._every, self._patience = beat, patience
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and when it was seen first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._removed: ElsewhereError | None = None
        self.id = ""

    def __enter__(self) -> Self:
        self.id = self._agents.join(self._run, this_host(), this_process())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(AutopruneError):  # others will see that it beats no more
            self._agents.remove(self.id)

    def noting(self, progress: ProgressCallback) -> ProgressCallback:
        """Return what tells ``progress``, and others by the next beat."""

        def told(event: Progress) -> None:
            self._heart.status = asdict(replace(event, ended=()))
            progress(event)

        return told

    def take(self, leases: Sequence[str]) -> set[str]:
        """Take leases, also from agents that are dead; return those that are ours then.

        Raises:
            ElsewhereError: If somebody removed the run: this agent gets no lease any more.
        """
        if self._removed is not None:
            raise self._removed
        holders = self._agents.take(leases, self.id)
        others = {holder for holder in holders.values() if holder and holder != self.id}
        if gone := others & self.dead() if others else set():
            for holder in gone:
                self._agents.remove(holder)
            holders = self._agents.take(leases, self.id)
        return {lease for lease, holder in holders.items() if holder == self.id}

    def give_back(self, leases: Sequence[str]) -> None:
        """Let others have leases."""
        self._agents.give_back(leases, self.id)

    def dead(self) -> set[str]:
        """Return the agents that are dead and did not leave."""
        return {one.id for one in self._agents.all() if not self._lives(one)}

    def living(self) -> set[str]:
        """Return the agents that live, this one among them."""
        return {one.id for one in self._agents.all() if self._lives(one)}

    def _lives(self, agent: Agent) -> bool:
        if agent.id == self.id:
            return True
        if (runs := runs_here(agent.host, agent.process)) is not None:
            return runs
        now = time.monotonic()
        beat, since = self._seen.get(agent.id, (-1, now))
        if beat != agent.beat:
            self._seen[agent.id] = agent.beat, now
            return True
        return now - since < self._patience

    def _beat(self) -> None:
        while not self._over.wait(self._every):
            with suppress(AutopruneError):  # the next beat may find the database again
                if not self._agents.beat(self.id, self._heart.status):
                    self._join_again()

    def _join_again(self) -> None:
        """Come back after this agent was taken for dead, or note that its run is gone."""
        try:
            self._agents.join(self._run, this_host(), this_process(), self.id)
        except ElsewhereError as err:
            self._removed = err


def seems_alive(agent: Agent) -> bool:
    """Tell at one look whether an agent lives: by its process here, elsewhere by its clock."""
    if (runs := runs_here(agent.host, agent.process)) is not None:
        return runs
    return abs((datetime.now(UTC) - agent.beaten_at).total_seconds()) <= PATIENCE


def alive_at_work(agents: Agents, run_id: int, *, looks: bool = True) -> list[Agent]:
    """Return the agents of a run that live; where clocks say no, look whether they beat.

    Args:
        agents: Those of the database.
        run_id: Number of the run.
        looks: Whether to look, which takes as long as one and a half beats.
    """
    seen = [one for one in agents.all() if one.run_id == run_id]
    living = [one for one in seen if seems_alive(one)]
    elsewhere = {one.id: one.beat for one in seen if one.host != this_host()}
    if living or not elsewhere or not looks:
        return living
    time.sleep(1.5 * BEAT)
    return [one for one in agents.all() if elsewhere.get(one.id, one.beat) != one.beat]


def place_of(agent: Agent) -> str:
    """Return machine and process of an agent, for people."""
    return f"{agent.host.split()[0]}, process {agent.process.split('@')[0]}"
