"""How many calls an audit event stands for, and where an operation was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. An event that is there already stands for one call."""
    with op.batch_alter_table("audit_events") as events:
        events.add_column(sa.Column("calls", sa.BigInteger(), nullable=False, server_default="1"))
    with op.batch_alter_table("operations") as operations:
        operations.add_column(sa.Column("source", sa.String(100), nullable=False, server_default=""))


def downgrade() -> None:
    """Drops them."""
    with op.batch_alter_table("operations") as operations:
        operations.drop_column("source")
    with op.batch_alter_table("audit_events") as events:
        events.drop_column("calls")
