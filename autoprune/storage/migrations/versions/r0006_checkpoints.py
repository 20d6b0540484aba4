"""Where progressive runs stand, and which of their steps an entry of the ledger is about."""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    """Create ``ap_checkpoint``; add ``step`` to ``ap_ledger`` and its key, 0 for older rows."""
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
    with op.batch_alter_table("ap_ledger") as table:
        table.add_column(sa.Column("step", sa.Integer(), nullable=False, server_default="0"))
        table.drop_constraint(_name(_KEY), type_="unique")
        table.create_unique_constraint(_name((*_KEY, "step")), [*_KEY, "step"])
    with op.batch_alter_table("ap_ledger") as table:
        table.alter_column("step", server_default=None)


def downgrade() -> None:
    """Drop both, and entries about steps."""
    op.drop_table("ap_checkpoint")
    op.execute("DELETE FROM ap_ledger WHERE step > 0")
    with op.batch_alter_table("ap_ledger") as table:
        table.drop_constraint(_name((*_KEY, "step")), type_="unique")
        table.create_unique_constraint(_name(_KEY), [*_KEY])
        table.drop_column("step")


_KEY = ("run_id", "policy_fp", "alternative_fp")


def _name(columns: tuple[str, ...]) -> str:
    return "uq_ap_ledger_" + "_".join(columns)
