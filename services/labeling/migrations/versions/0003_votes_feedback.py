"""The ledger of votes, and what became of feedback."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0003"
down_revision = "0002"

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "applied_offsets",
        sa.Column("topic", sa.String(100), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_applied_offsets"),
    )
    op.create_table(
        "feedback_cut_votes",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cut", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_feedback_cut_votes"),
    )
    op.create_index("ix_feedback_cut_votes_cut", "feedback_cut_votes", ["cut"])
    op.create_table(
        "feedback_cuts",
        sa.Column("id", POSITION, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("base_label_set", sa.String(300), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("dataset_version", sa.String(300), nullable=False),
        sa.Column("up_to", sa.BigInteger(), nullable=True),
        sa.Column("labelers", sa.Text(), nullable=False),
        sa.Column("label_set", sa.String(300), nullable=False),
        sa.Column("appended_rows", sa.BigInteger(), nullable=False),
        sa.Column("feedback_votes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback_cuts"),
        sa.UniqueConstraint("model", "request_id", name="uq_feedback_cuts_model_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "feedback_predictions",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("prediction", sa.String(400), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("problem_spec", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("received", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("model", "prediction", name="pk_feedback_predictions"),
    )
    op.create_index("ix_feedback_predictions_received", "feedback_predictions", ["received"])
    op.create_table(
        "feedback_repeated",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_feedback_repeated"),
    )
    op.create_table(
        "feedback_subjects",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("subject", sa.String(450), nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("model", "dataset", "subject", name="pk_feedback_subjects"),
    )
    op.create_table(
        "feedback_unmatched",
        sa.Column("sequence", POSITION, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(400), nullable=False),
        sa.Column("prediction", sa.String(400), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("classes", sa.Text(), nullable=False),
        sa.Column("features", sa.Text(), nullable=True),
        sa.Column("problem_spec", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("accepted", UtcDateTime(), nullable=False),
        sa.Column("topic", sa.String(100), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_feedback_unmatched"),
        sa.UniqueConstraint("model", "event_id", name="uq_feedback_unmatched_model_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_unmatched_model_feedback_unmatched_prediction", "feedback_unmatched", ["model", "prediction"])
    op.create_table(
        "ledger",
        sa.Column("position", POSITION, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("labeler", sa.String(200), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=True),
        sa.Column("target", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("vote_id", sa.String(700), nullable=True),
        sa.Column("classes", sa.Text(), nullable=False),
        sa.Column("against", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("gold", sa.Boolean(), nullable=False),
        sa.Column("drawn", sa.String(8), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=True),
        sa.Column("event_id", sa.String(400), nullable=True),
        sa.Column("subject", sa.String(450), nullable=True),
        sa.Column("topic", sa.String(100), nullable=True),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_ledger"),
        sa.UniqueConstraint("dataset", "vote_id", name="uq_ledger_dataset_vote_id"),
        sa.UniqueConstraint("model", "event_id", name="uq_ledger_model_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ledger_dataset_ledger_labeler_ledger_row", "ledger", ["dataset", "labeler", "row"])
    op.create_index("ix_ledger_model_ledger_subject", "ledger", ["model", "subject"])
    op.create_index("ix_ledger_target", "ledger", ["target"])


def downgrade() -> None:
    """Drops them, and all that is in them."""
    for table in (
        "ledger",
        "feedback_unmatched",
        "feedback_subjects",
        "feedback_repeated",
        "feedback_predictions",
        "feedback_cuts",
        "feedback_cut_votes",
        "applied_offsets",
    ):
        op.drop_table(table)
