"""Runs and their evaluations in a database; an evaluation once paid for is kept and reused."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, or_, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from autoprune.core.fingerprint import fingerprint, seed_from
from autoprune.errors import ConfigError, ElsewhereError, RunExistsError
from autoprune.storage.engine import make_engine, parse_url, readable_errors, readable_rows
from autoprune.storage.migrate import upgrade
from autoprune.storage.models import EvaluationRow, RunRow
from autoprune.storage.patience import is_away, patient
from autoprune.storage.records import Evaluation, EvaluationKey, Run
from autoprune.storage.rows import evaluation_row, key_columns, to_evaluation, to_key, to_run

_ATTEMPTS = 20  # each failure means that another process got further


class Database:
    """Our tables behind one URL; safe to share between threads and between processes.

    Every method is one transaction: what it returned is committed. Each raises `OutputError` for
    a SQLite file and `ConfigError` for a server that cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database at ``url`` and bring its tables up to date; they may be missing.

        Raises:
            ConfigError: If the URL cannot be read or used, or a newer autoprune wrote the tables.
            OutputError: If a SQLite file cannot be created or written.
        """
        parsed = parse_url(url)
        engine = make_engine(parsed)
        try:
            with readable_errors(parsed):
                upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def start_run(self, name: str, config: Mapping[str, Any], model_fp: str, data_fp: str) -> int:
        """Store a new run and return its id; ``config`` holds plain JSON types and no secrets.

        Raises:
            ConfigError: If ``config`` holds something else than JSON, NaN included.
            RunExistsError: If a run of that name is stored.
        """
        _check_json(config)
        now = datetime.now(UTC)
        return self._add_run(name, now, config=dict(config), model_fp=model_fp, data_fp=data_fp)

    @patient
    def _add_run(self, name: str, now: datetime, **more: Any) -> int:
        try:
            with self.transaction() as session:
                row = RunRow(name=name, created_at=now, kept={}, outcome=None, **more)
                session.add(row)
                session.flush()
                return row.id
        except IntegrityError:
            known = self.find_run(name)
            if known is not None and known.created_at == now:  # the server left right after it
                return known.id
            raise RunExistsError(
                f"The database holds a run {name!r} already. Resume it or choose another name."
            ) from None

    @patient
    def find_run(self, name: str) -> Run | None:
        """Return the run of that name, if it is stored."""
        with self.reading() as session:
            row = session.scalar(select(RunRow).filter_by(name=name))
            return None if row is None else to_run(row)

    @patient
    def find_evaluations(
        self, keys: Sequence[EvaluationKey], payer: int | None = None
    ) -> dict[EvaluationKey, Evaluation]:
        """Return the evaluations of some keys that are stored, whichever run they are of.

        Args:
            keys: Which.
            payer: The run that asks: what another one stored costs it nothing. None to be told
                what they cost whoever made them.
        """
        with self.reading() as session:
            rows = session.scalars(select(EvaluationRow).where(_any_of(keys))) if keys else ()
            found = {to_key(row): (row.run_id, to_evaluation(row)) for row in rows}
        return {
            key: one if payer in (None, run) else one.free() for key, (run, one) in found.items()
        }

    def find_evaluation(self, key: EvaluationKey) -> Evaluation | None:
        """Return the evaluation of that key, whichever run it was stored by."""
        return self.find_evaluations([key]).get(key)

    @patient
    def record_evaluations(
        self, run_id: int | None, found: Mapping[EvaluationKey, Evaluation]
    ) -> dict[EvaluationKey, Evaluation]:
        """Store evaluations in one transaction and return the stored ones by key.

        Where there was one already, it is the first writer's.

        Raises:
            ElsewhereError: If somebody removed the run.
        """
        known: dict[EvaluationKey, Evaluation] = {}
        while new := {key: one for key, one in found.items() if key not in known}:
            try:
                with self.transaction() as session:
                    rows = sorted(new.items(), key=repr)  # in one order: no deadlocks
                    session.add_all([evaluation_row(run_id, *pair) for pair in rows])
                    session.flush()
                return {key: known.get(key, one) for key, one in found.items()}
            except IntegrityError:
                before = len(known)
                known |= self.find_evaluations(list(new))
                if len(known) == before:
                    self.refuse_removed(run_id)
                    raise
        return known

    def record_evaluation(
        self, run_id: int | None, key: EvaluationKey, evaluation: Evaluation
    ) -> Evaluation:
        """Store an evaluation and return the stored one: the first writer's, if there was one."""
        return self.record_evaluations(run_id, {key: evaluation})[key]

    def refuse_removed(self, run_id: int | None) -> None:
        """Raise `ElsewhereError` if somebody removed a run; None is no run."""
        with self.reading() as session:
            if run_id is not None and session.get(RunRow, run_id) is None:
                raise removed_run()

    @patient
    def replace_evaluation(
        self, run_id: int | None, key: EvaluationKey, evaluation: Evaluation
    ) -> None:
        """Store an evaluation in place of the one of that key, if there is one.

        Raises:
            ElsewhereError: If somebody removed the run.
        """
        for left in reversed(range(_ATTEMPTS)):
            try:
                with self.transaction() as session:
                    session.execute(delete(EvaluationRow).filter_by(**key_columns(key)))
                    session.add(evaluation_row(run_id, key, evaluation))
                return
            except IntegrityError:  # another process stored one between the two
                self.refuse_removed(run_id)
                if not left:
                    raise

    @patient
    def evaluations(self, run_id: int) -> list[Evaluation]:
        """Return what this run stored, oldest first; what it found stored is not among it."""
        with self.reading() as session:
            rows = session.scalars(
                select(EvaluationRow).filter_by(run_id=run_id).order_by(EvaluationRow.id)
            )
            return [to_evaluation(row) for row in rows]

    @patient
    def comparable(self, run_id: int, outcome: str) -> list[tuple[EvaluationKey, Evaluation]]:
        """Return what was evaluated in the ways of this run and had an outcome, oldest first.

        What the run was given or found stored is among it.
        """
        ways = select(EvaluationRow.evaluator_fp).filter_by(run_id=run_id)
        query = select(EvaluationRow).filter_by(outcome=outcome).order_by(EvaluationRow.id)
        with self.reading() as session:
            rows = session.scalars(query.where(EvaluationRow.evaluator_fp.in_(ways)))
            return [(to_key(row), to_evaluation(row)) for row in rows]

    @property
    def url(self) -> str:
        """Where it is, its password included."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def is_server(self) -> bool:
        """Whether other machines can use it too."""
        return self._engine.dialect.name != "sqlite"

    @contextmanager
    def alone_in(self, what: str) -> Iterator[None]:
        """Keep other processes out of something until the block ends or this process dies.

        Only PostgreSQL can; elsewhere nothing is kept out.

        Args:
            what: Name of it; others that name the same wait.
        """
        if self._engine.dialect.name != "postgresql":
            yield
            return
        number = seed_from(what) % 2**63
        with readable_errors(self._engine.url):
            connection = self._locked(number)
            try:
                yield
            finally:
                try:
                    connection.close()
                except DBAPIError as err:  # the server left, and the lock with it
                    if not is_away(err):
                        raise

    @patient
    def _locked(self, number: int) -> Connection:
        """Return a connection whose transaction holds a lock, once nobody else does."""
        connection = self._engine.connect()
        try:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session of one transaction: committed at the end, undone by any exception."""
        url = self._engine.url
        with readable_errors(url), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def of_run(self, run_id: int) -> Iterator[Session]:
        """Yield a session of one transaction that stores something of a run.

        Raises:
            ElsewhereError: If somebody removed the run.
        """
        try:
            with self.transaction() as session:
                yield session
        except IntegrityError:
            self.refuse_removed(run_id)
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session of one transaction whose rows are read, and nothing else is done.

        Raises:
            OutputError: If a row is not as autoprune writes it.
        """
        with self.transaction() as session, readable_rows(self._engine.url):
            yield session

    def close(self) -> None:
        """Close all connections; SQLite then folds its side files into the main one."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def removed_run() -> ElsewhereError:
    """Return what those are told who work on a run that is there no more."""
    return ElsewhereError(
        "Somebody removed this run from the database (autoprune runs rm --force): it ends here. "
        "What it scored is kept unless that was removed too: the command that began it finds "
        "that again."
    )


def _check_json(config: Mapping[str, Any]) -> None:
    try:
        fingerprint(dict(config))
    except (TypeError, ValueError) as err:
        raise ConfigError(f"The configuration of a run must be plain JSON: {err}.") from err


def _any_of(keys: Sequence[EvaluationKey]) -> ColumnElement[bool]:
    """Return what says that a row is of one of some keys: mostly they differ by policy alone."""
    policies: dict[tuple[str, str, str], list[str]] = {}
    for key in keys:
        way = key.model_fp, key.data_fp, key.evaluator_fp
        policies.setdefault(way, []).append(key.policy_fp)
    row = EvaluationRow
    return or_(
        *(
            and_(
                *(row.model_fp == model, row.data_fp == data, row.evaluator_fp == evaluator),
                row.policy_fp.in_(wanted),
            )
            for (model, data, evaluator), wanted in policies.items()
        )
    )
