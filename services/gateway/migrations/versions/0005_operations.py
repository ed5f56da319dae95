"""Long-running operations."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "operations",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("method", sa.String(200), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(63), nullable=False),
        sa.Column("lease", UtcDateTime(), nullable=True),
        sa.Column("cancelling", sa.Boolean(), nullable=False),
        sa.Column("started", UtcDateTime(), nullable=True),
        sa.Column("ended", UtcDateTime(), nullable=True),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    for column in ("project", "state", "ended"):
        op.create_index(op.f(f"ix_operations_{column}"), "operations", [column])


def downgrade() -> None:
    """Drops the table: operations under way end with their gateway."""
    op.drop_table("operations")
