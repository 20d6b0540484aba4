"""Probes of the sensitivity table."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Create ``ap_sensitivity``."""
    key = ("model_fp", "data_fp", "policy_fp", "probe_fp")
    op.create_table(
        "ap_sensitivity",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in key),
        sa.Column("policy", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in ("loss", "quality")),
        sa.Column("stderr", sa.Double(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("sample_forwards", "seconds")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_sensitivity"),
        sa.UniqueConstraint(*key, name="uq_ap_sensitivity_" + "_".join(key)),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("ap_sensitivity")
