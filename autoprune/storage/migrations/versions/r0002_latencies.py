"""Latencies, and the devices they were measured on."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Create ``ap_device`` and ``ap_latency``."""
    op.create_table(
        "ap_device",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_ap_device"),
    )
    key = ("device_fp", "target", "layer", "sizes")
    op.create_table(
        "ap_latency",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in key),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("seconds", "low", "high")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_latency"),
        sa.ForeignKeyConstraint(
            ["device_fp"], ["ap_device.fingerprint"], name="fk_ap_latency_device_fp"
        ),
        sa.UniqueConstraint(*key, name="uq_ap_latency_" + "_".join(key)),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("ap_latency")
    op.drop_table("ap_device")
