"""Runs and evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Create ``ap_run`` and ``ap_evaluation``."""
    op.create_table(
        "ap_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("model_fp", sa.String(), nullable=False),
        sa.Column("data_fp", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_run"),
        sa.UniqueConstraint("name", name="uq_ap_run_name"),
    )
    key = ("model_fp", "data_fp", "policy_fp", "evaluator_fp")
    op.create_table(
        "ap_evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in key),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("quality", sa.Double(), nullable=True),
        sa.Column("sample_forwards", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("weights", sa.String(), nullable=True),
        sa.Column("weights_sha256", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_evaluation"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ap_run.id"], name="fk_ap_evaluation_run_id", ondelete="SET NULL"
        ),
        sa.UniqueConstraint(*key, name="uq_ap_evaluation_" + "_".join(key)),
    )
    op.create_index("ix_ap_evaluation_run_id", "ap_evaluation", ["run_id"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("ap_evaluation")
    op.drop_table("ap_run")
