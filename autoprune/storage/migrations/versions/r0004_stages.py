"""What ranks an evaluation, and what was found on the way to it."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    """Add ``score`` and ``stages`` to ``ap_evaluation``; older rows have neither."""
    with op.batch_alter_table("ap_evaluation") as table:
        table.add_column(sa.Column("score", sa.Double(), nullable=True))
        table.add_column(sa.Column("stages", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Drop both columns."""
    with op.batch_alter_table("ap_evaluation") as table:
        table.drop_column("stages")
        table.drop_column("score")
