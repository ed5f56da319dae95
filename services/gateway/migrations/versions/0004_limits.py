"""Limits of keys, and what each used on each day."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and the table. NULL leaves a limit to the settings."""
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("calls_per_second", sa.Double(), nullable=True))
        keys.add_column(sa.Column("burst", sa.Integer(), nullable=True))
        keys.add_column(sa.Column("rows_per_day", sa.BigInteger(), nullable=True))
        keys.add_column(sa.Column("feedback_per_day", sa.BigInteger(), nullable=True))
    op.create_table(
        "key_usage",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.String(80), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("feedback", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "key_id", name=op.f("pk_key_usage")),
    )


def downgrade() -> None:
    """Drops both."""
    op.drop_table("key_usage")
    with op.batch_alter_table("keys") as keys:
        for name in ("feedback_per_day", "rows_per_day", "burst", "calls_per_second"):
            keys.drop_column(name)
