"""The audit log."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXTS = {
    "request_id": 64, "method": 200, "resource": 1000, "project": 200, "key_id": 80, "display_name": 200, "subject": 255,
    "role": 16, "source": 100, "outcome": 30, "reason": 100,
}  # fmt: skip


def upgrade() -> None:
    """Creates the tables, and the one row that counts."""
    op.create_table(
        "audit_events",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.String(length), nullable=False) for name, length in _TEXTS.items()),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_time"), "audit_events", ["time"])
    op.create_index(op.f("ix_audit_events_key_id"), "audit_events", ["key_id"])
    op.create_index("ix_audit_events_project_number", "audit_events", ["project", "number"])
    outbox = op.create_table(
        "audit_outbox",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_outbox")),
    )
    op.bulk_insert(outbox, [{"id": 1, "last": 0, "published": 0}])


def downgrade() -> None:
    """Drops the tables with what they hold."""
    op.drop_table("audit_outbox")
    op.drop_table("audit_events")
