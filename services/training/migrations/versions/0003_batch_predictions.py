"""Batch predictions, and the finished chunks of their results."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0003"
down_revision = "0002"

_NAME = sa.String(400)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "batch_predictions",
        _column("name", _NAME), _column("project", sa.String(63)), _column("dataset_version", _NAME), _column("model", _NAME),
        _column("version", _NAME), _column("rows", sa.String(20)), _column("label_set", _NAME),
        _column("state", sa.String(20)), _column("cancelling", sa.Boolean()), _column("attempts", sa.Integer()),
        _column("attempt_started", UtcDateTime(), nullable=True), _column("attempt_rows", sa.BigInteger()),
        _column("row_count", sa.BigInteger()), _column("rows_done", sa.BigInteger()), _column("size", sa.BigInteger()),
        _column("counts", sa.Text()), _column("notes", sa.Text()), _column("problem", sa.Text()),
        _column("created", UtcDateTime()), _column("started", UtcDateTime(), nullable=True),
        _column("ended", UtcDateTime(), nullable=True), _column("request_id", sa.String(64)),
        _column("traceparent", sa.String(64)),
        sa.PrimaryKeyConstraint("name", name="pk_batch_predictions"),
    )  # fmt: skip
    for column in ("project", "created"):
        op.create_index(f"ix_batch_predictions_{column}", "batch_predictions", [column])
    op.create_table(
        "batch_prediction_chunks",
        _column("batch", _NAME), _column("number", sa.Integer()), _column("key", _NAME), _column("digest", sa.String(80)),
        _column("rows", sa.Integer()), _column("size", sa.BigInteger()), _column("counts", sa.Text()),
        _column("unread", sa.Text()),
        sa.PrimaryKeyConstraint("batch", "number", name="pk_batch_prediction_chunks"),
    )  # fmt: skip


def downgrade() -> None:
    """Drops them, and all that is in them."""
    for table in ("batch_prediction_chunks", "batch_predictions"):
        op.drop_table(table)


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)
