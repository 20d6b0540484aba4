"""The tables: all are named ``ap_*`` and live beside Optuna's in one database.

A change here needs a new file in ``migrations/versions``; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: time zones go in, UTC comes out, also from SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return ``value`` in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return ``value`` with its zone."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of our tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[dict[str, Any]]: JSON,
        list[str]: JSON,
        str: String,
        float: Double,
    }


class RunRow(Base):
    """A started search; see `autoprune.storage.records.Run`."""

    __tablename__ = "ap_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    config: Mapped[dict[str, Any]]
    model_fp: Mapped[str]
    data_fp: Mapped[str]
    kept: Mapped[dict[str, Any]]
    outcome: Mapped[dict[str, Any] | None]


class EvaluationRow(Base):
    """A scored policy; it outlives the run that paid for it, so that later runs can reuse it."""

    __tablename__ = "ap_evaluation"
    __table_args__ = (UniqueConstraint("model_fp", "data_fp", "policy_fp", "evaluator_fp"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("ap_run.id", ondelete="SET NULL"), index=True
    )
    model_fp: Mapped[str]
    data_fp: Mapped[str]
    policy_fp: Mapped[str]
    evaluator_fp: Mapped[str]
    policy: Mapped[dict[str, Any]]
    outcome: Mapped[str]
    loss: Mapped[float | None]
    quality: Mapped[float | None]
    score: Mapped[float | None]
    stages: Mapped[list[dict[str, Any]] | None]
    sample_forwards: Mapped[float]
    seconds: Mapped[float]
    weights: Mapped[str | None]
    weights_sha256: Mapped[str | None]
    created_at: Mapped[datetime]


class DeviceRow(Base):
    """A device that latencies were measured on, and the facts its fingerprint is of."""

    __tablename__ = "ap_device"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class LatencyRow(Base):
    """A measured layer; ``sizes`` is a JSON list as text, so that a constraint can hold it."""

    __tablename__ = "ap_latency"
    __table_args__ = (UniqueConstraint("device_fp", "target", "layer", "sizes"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_fp: Mapped[str] = mapped_column(ForeignKey("ap_device.fingerprint"))
    target: Mapped[str]
    layer: Mapped[str]
    sizes: Mapped[str]
    seconds: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    created_at: Mapped[datetime]


class SensitivityRow(Base):
    """A policy that cuts one unit alone, or the dense model, and what it was found to give."""

    __tablename__ = "ap_sensitivity"
    __table_args__ = (UniqueConstraint("model_fp", "data_fp", "policy_fp", "probe_fp"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_fp: Mapped[str]
    data_fp: Mapped[str]
    policy_fp: Mapped[str]
    probe_fp: Mapped[str]
    policy: Mapped[dict[str, Any]]
    loss: Mapped[float | None]
    quality: Mapped[float | None]
    stderr: Mapped[float]
    samples: Mapped[int]
    reason: Mapped[str | None]
    sample_forwards: Mapped[float]
    seconds: Mapped[float]
    created_at: Mapped[datetime]


class LedgerRow(Base):
    """A decision that was examined; see `autoprune.core.ledger.LedgerEntry`. Never changed."""

    __tablename__ = "ap_ledger"
    __table_args__ = (UniqueConstraint("run_id", "policy_fp", "alternative_fp", "step"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ap_run.id", ondelete="CASCADE"), index=True)
    policy_fp: Mapped[str]
    alternative_fp: Mapped[str]
    units: Mapped[list[str]]
    policy: Mapped[dict[str, Any]]
    alternative: Mapped[dict[str, Any]]
    outcome: Mapped[str]
    expected_regret: Mapped[float | None]
    score_before: Mapped[float]
    score_after: Mapped[float | None]
    quality_before: Mapped[float]
    quality_after: Mapped[float | None]
    costs_before: Mapped[dict[str, Any]]
    costs_after: Mapped[dict[str, Any]]
    p_value: Mapped[float | None]
    threshold: Mapped[float]
    sample_forwards: Mapped[float]
    step: Mapped[int]
    created_at: Mapped[datetime]


class CheckpointRow(Base):
    """Where a progressive run stands, and which files hold its weights; the last row counts."""

    __tablename__ = "ap_checkpoint"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ap_run.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    state: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class AgentRow(Base):
    """A process that works on a run; see `autoprune.storage.agents.Agent`."""

    __tablename__ = "ap_agent"

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int | None] = mapped_column(
        ForeignKey("ap_run.id", ondelete="CASCADE"), index=True
    )
    host: Mapped[str]
    process: Mapped[str]
    beat: Mapped[int]
    started_at: Mapped[datetime]
    beaten_at: Mapped[datetime]
    status: Mapped[dict[str, Any]]


class LeaseRow(Base):
    """What one agent alone may do; it is free again when the agent is removed."""

    __tablename__ = "ap_lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    agent_id: Mapped[str] = mapped_column(
        ForeignKey("ap_agent.id", ondelete="CASCADE"), index=True
    )
