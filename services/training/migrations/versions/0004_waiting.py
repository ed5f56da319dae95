"""What a run or a batch prediction waits for, while an engine is away."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("runs", "batch_predictions")


def upgrade() -> None:
    """Nothing waits."""
    for table in _TABLES:
        op.add_column(table, sa.Column("waiting_for", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Forgets it."""
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column("waiting_for")
