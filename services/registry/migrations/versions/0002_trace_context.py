"""The call that made a change, told with it: its request id and trace context."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Changes of before were made by nobody known."""
    op.add_column("changes", sa.Column("request_id", sa.String(64), nullable=False, server_default=""))
    op.add_column("changes", sa.Column("traceparent", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    """Forgets it."""
    with op.batch_alter_table("changes") as table:
        table.drop_column("request_id")
        table.drop_column("traceparent")
