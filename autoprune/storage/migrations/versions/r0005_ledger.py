"""The ledger of examined decisions."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    """Create ``ap_ledger``."""
    key = ("run_id", "policy_fp", "alternative_fp")
    op.create_table(
        "ap_ledger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in key[1:]),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("units", *_POLICIES)),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("expected_regret", sa.Double(), nullable=True),
        *(
            sa.Column(f"{name}_{when}", sa.Double(), nullable=when == "after")
            for name in ("score", "quality")
            for when in ("before", "after")
        ),
        *(sa.Column(f"costs_{when}", sa.JSON(), nullable=False) for when in ("before", "after")),
        sa.Column("p_value", sa.Double(), nullable=True),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("threshold", "sample_forwards")
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ap_ledger"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ap_run.id"], name="fk_ap_ledger_run_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint(*key, name="uq_ap_ledger_" + "_".join(key)),
    )
    op.create_index("ix_ap_ledger_run_id", "ap_ledger", ["run_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("ap_ledger")


_POLICIES = ("policy", "alternative")
