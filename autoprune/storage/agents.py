"""Who works on what: agents that show by beats that they live, and leases that they hold."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from autoprune.storage.database import Database
from autoprune.storage.models import AgentRow, LeaseRow
from autoprune.storage.patience import patient
from autoprune.storage.rows import as_mapping, as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A process that works on a run.

    Args:
        id: What tells it apart, 32 hex digits.
        run_id: The run in this database.
        host: What tells its machine apart, this start of it and its processes' numbering.
        process: Its number there, and when it began.
        beat: How often it has shown that it lives.
        started_at: When it began, in UTC by its own clock.
        beaten_at: When it last showed that it lives, in UTC by its own clock.
        status: What it last told of its progress, plain JSON types.
    """

    id: str
    run_id: int | None
    host: str
    process: str
    beat: int
    started_at: datetime
    beaten_at: datetime
    status: Mapping[str, Any]


class Agents:
    """The agents of a database, and their leases.

    Nothing here compares clocks: whether an agent lives is told by its beats.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(self, run_id: int | None, host: str, process: str, id: str | None = None) -> str:
        """Add an agent and return what tells it apart; ``id`` if it was there before.

        Raises:
            ElsewhereError: If somebody removed the run.
        """
        name = id or uuid.uuid4().hex
        self._add(name, run_id, host, process)
        return name

    @patient
    def _add(self, name: str, run_id: int | None, host: str, process: str) -> None:
        now = datetime.now(UTC)
        row = AgentRow(
            id=name,
            run_id=run_id,
            host=host,
            process=process,
            beat=0,
            started_at=now,
            beaten_at=now,
            status={},
        )
        try:
            with self._database.transaction() as session:
                session.merge(row)  # it is there where the server left right after it was stored
        except IntegrityError:
            self._database.refuse_removed(run_id)
            raise

    @patient
    def beat(self, agent: str, status: Mapping[str, Any]) -> bool:
        """Show that an agent lives; False if it was taken for dead and removed."""
        change = (
            update(AgentRow)
            .filter_by(id=agent)
            .values(beat=AgentRow.beat + 1, beaten_at=datetime.now(UTC), status=dict(status))
            .returning(AgentRow.id)
        )
        with self._database.transaction() as session:
            return session.scalar(change) is not None

    @patient
    def remove(self, agent: str) -> None:
        """Remove an agent, and with it its leases."""
        with self._database.transaction() as session:
            session.execute(delete(AgentRow).filter_by(id=agent))

    @patient
    def all(self) -> list[Agent]:
        """Return all agents that did not leave, dead ones too."""
        with self._database.reading() as session:
            return [_agent(row) for row in session.scalars(select(AgentRow))]

    @patient
    def take(self, leases: Sequence[str], agent: str) -> dict[str, str]:
        """Take leases that nobody has, and return who has each then."""
        held = self._holders(leases)
        free = sorted(one for one in leases if one not in held)  # in one order: no deadlocks
        try:
            with self._database.transaction() as session:
                session.add_all([LeaseRow(name=one, agent_id=agent) for one in free])
        except IntegrityError:  # another one was quicker: take them one by one
            return held | {one: self._taken(one, agent) for one in free}
        return held | dict.fromkeys(free, agent)

    def _taken(self, lease: str, agent: str) -> str:
        """Take a lease if nobody has it, and return who has it then."""
        try:
            with self._database.transaction() as session:
                session.add(LeaseRow(name=lease, agent_id=agent))
        except IntegrityError:
            return self._holders([lease]).get(lease, "")  # it was given back just now: ask again
        return agent

    def _holders(self, leases: Sequence[str]) -> dict[str, str]:
        query = select(LeaseRow.name, LeaseRow.agent_id).where(LeaseRow.name.in_(leases))
        with self._database.reading() as session:
            return {name: holder for name, holder in session.execute(query)}

    @patient
    def give_back(self, leases: Sequence[str], agent: str) -> None:
        """Give back leases; nothing happens to those that the agent does not hold."""
        own = delete(LeaseRow).where(LeaseRow.name.in_(leases), LeaseRow.agent_id == agent)
        with self._database.transaction() as session:
            session.execute(own)


def _agent(row: AgentRow) -> Agent:
    return Agent(
        id=row.id,
        run_id=row.run_id,
        host=as_text(row.host),
        process=as_text(row.process),
        beat=row.beat,
        started_at=row.started_at,
        beaten_at=row.beaten_at,
        status=as_mapping(row.status),
    )
