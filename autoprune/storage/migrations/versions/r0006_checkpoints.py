"""Where progressive runs stand."""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    """Create ``ap_checkpoint``."""
    op.create_table(
        "ap_checkpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_checkpoint"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ap_run.id"], name="fk_ap_checkpoint_run_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_ap_checkpoint_run_id", "ap_checkpoint", ["run_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("ap_checkpoint")
