"""Who works on a run, what one agent alone may do, and what a run keeps and comes to."""

import sqlalchemy as sa
from alembic import op

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    """Create ``ap_agent`` and ``ap_lease``; add ``kept`` and ``outcome`` to ``ap_run``."""
    op.create_table(
        "ap_agent",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beaten_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_agent"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ap_run.id"], name="fk_ap_agent_run_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_ap_agent_run_id", "ap_agent", ["run_id"])
    op.create_table(
        "ap_lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_ap_lease"),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["ap_agent.id"], name="fk_ap_lease_agent_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_ap_lease_agent_id", "ap_lease", ["agent_id"])
    with op.batch_alter_table("ap_run") as table:
        table.add_column(sa.Column("kept", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("outcome", sa.JSON(), nullable=True))
    with op.batch_alter_table("ap_run") as table:
        table.alter_column("kept", server_default=None)


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("ap_run") as table:
        table.drop_column("outcome")
        table.drop_column("kept")
    op.drop_table("ap_lease")
    op.drop_table("ap_agent")
