"""The call that caused a run or a regrowth, kept beside it: work that a crash interrupted goes on in the same trace."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = ("runs", "regrowths")


def upgrade() -> None:
    """What was begun before was caused by nobody known."""
    for table in _TABLES:
        op.add_column(table, sa.Column("request_id", sa.String(64), nullable=False, server_default=""))
        op.add_column(table, sa.Column("traceparent", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    """Forgets it."""
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column("request_id")
            table.drop_column("traceparent")
