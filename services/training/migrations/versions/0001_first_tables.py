"""Runs with their events, policies with their regrowths, and the feedback that waits."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0001"
down_revision = None

_NAME = sa.String(400)


def upgrade() -> None:
    """Makes the tables."""
    _make_runs()
    _make_policies()
    _make_bookkeeping()


def downgrade() -> None:
    """Drops them, and all that is in them."""
    for table in ("idempotency_keys", "read_offsets", "feedback", "regrowths", "policies", "run_events", "runs"):
        op.drop_table(table)


def _make_runs() -> None:
    op.create_table(
        "runs",
        _column("name", _NAME), _column("project", sa.String(63)), _column("label_set", _NAME), _column("model", _NAME),
        _column("problem_spec", _NAME), _column("dataset_version", _NAME), _column("template", sa.String(100)),
        _column("schedule", sa.Text()), _column("seed", sa.BigInteger()), _column("origin", sa.Text()),
        _column("express", sa.Boolean()), _column("state", sa.String(20)), _column("cancelling", sa.Boolean()),
        _column("attempts", sa.Integer()), _column("version", _NAME), _column("report", sa.Text()),
        _column("rank", sa.Float(), nullable=True), _column("problem", sa.Text()), _column("created", UtcDateTime()),
        _column("started", UtcDateTime(), nullable=True), _column("ended", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_runs"),
    )  # fmt: skip
    for column in ("project", "label_set", "model", "created"):
        op.create_index(f"ix_runs_{column}", "runs", [column])
    op.create_table(
        "run_events",
        _column("run", _NAME), _column("sequence", sa.Integer()), _column("time", UtcDateTime()), _column("event", sa.Text()),
        sa.PrimaryKeyConstraint("run", "sequence", name="pk_run_events"),
    )  # fmt: skip


def _make_policies() -> None:
    op.create_table(
        "policies",
        _column("name", _NAME), _column("project", sa.String(63)), _column("model", _NAME), _column("rules", sa.Text()),
        _column("etag", sa.String(32)), _column("created", UtcDateTime()),
        sa.PrimaryKeyConstraint("name", name="pk_policies"),
        sa.UniqueConstraint("model", name="uq_policies_model"),
    )  # fmt: skip
    op.create_index("ix_policies_project", "policies", ["project"])
    op.create_table(
        "regrowths",
        _column("name", _NAME), _column("policy", _NAME), _column("model", _NAME), _column("number", sa.Integer()),
        _column("active", _NAME, nullable=True), _column("state", sa.String(20)), _column("trigger", sa.Text()),
        _column("cut", sa.Text()), _column("label_set", _NAME), _column("feedback_votes", sa.Integer()), _column("run", _NAME),
        _column("champion", _NAME), _column("challenger", _NAME), _column("comparison", sa.Text()),
        _column("decision", sa.Text()), _column("created", UtcDateTime()), _column("ended", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_regrowths"),
        sa.UniqueConstraint("active", name="uq_regrowths_active"),
    )  # fmt: skip
    op.create_index("ix_regrowths_policy", "regrowths", ["policy"])


def _make_bookkeeping() -> None:
    op.create_table(
        "feedback",
        _column("model", _NAME), _column("event_id", sa.String(200)), _column("partition", sa.Integer()),
        _column("offset", sa.BigInteger()), _column("accepted", UtcDateTime()), _column("used", sa.Boolean()),
        sa.PrimaryKeyConstraint("model", "event_id", name="pk_feedback"),
    )  # fmt: skip
    op.create_index("ix_feedback_model_used", "feedback", ["model", "used"])
    op.create_table(
        "read_offsets",
        _column("partition", sa.Integer()), _column("offset", sa.BigInteger()),
        sa.PrimaryKeyConstraint("partition", name="pk_read_offsets"),
    )  # fmt: skip
    op.create_table(
        "idempotency_keys",
        _column("scope", sa.String(300)), _column("request_id", sa.String(128)), _column("fingerprint", sa.String(64)),
        _column("result", sa.Text()), _column("created", UtcDateTime()),
        sa.PrimaryKeyConstraint("scope", "request_id", name="pk_idempotency_keys"),
    )  # fmt: skip
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created"])


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)
