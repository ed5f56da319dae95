"""What became of feedback, event by event: identity by source and id, when a label was observed, and what was odd."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0004"
down_revision = "0003"

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = {"ledger": "annotator", "feedback_unmatched": "source"}


def upgrade() -> None:
    """Events that are there already keep their ids; what they said isn't known any more, so a repeat of one is one."""
    for name, source in _TABLES.items():
        with op.batch_alter_table(name, table_kwargs={"sqlite_autoincrement": True}) as table:
            table.add_column(sa.Column("observed", UtcDateTime(), nullable=True))
            table.add_column(sa.Column("fingerprint", sa.String(32), nullable=True))
            table.drop_constraint(f"uq_{name}_model_event_id", type_="unique")
            table.create_unique_constraint(f"uq_{name}_model_{source}_event_id", ["model", source, "event_id"])
    op.create_table(
        "feedback_issues",
        sa.Column("sequence", POSITION, autoincrement=True, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(400), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("prediction", sa.String(400), nullable=False),
        sa.Column("classes", sa.Text(), nullable=False),
        sa.Column("fate", sa.String(40), nullable=False),
        sa.Column("other_source", sa.String(200), nullable=False),
        sa.Column("other_classes", sa.Text(), nullable=False),
        sa.Column("observed", UtcDateTime(), nullable=False),
        sa.Column("accepted", UtcDateTime(), nullable=False),
        sa.Column("noted", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_feedback_issues"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_issues_noted", "feedback_issues", ["noted"])
    op.create_index("ix_feedback_issues_model_feedback_issues_fate", "feedback_issues", ["model", "fate"])
    op.create_index("ix_feedback_issues_event", "feedback_issues", ["model", "source", "event_id"])
    fates = op.create_table(
        "feedback_fates",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("fate", sa.String(40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "fate", name="pk_feedback_fates"),
    )
    repeated = sa.table("feedback_repeated", sa.column("model"), sa.column("count"))
    op.execute(
        sa.insert(fates).from_select(
            ["model", "fate", "count"], sa.select(repeated.c.model, sa.literal("REPEATED"), repeated.c.count)
        )
    )
    op.drop_table("feedback_repeated")


def downgrade() -> None:
    """Forgets what was odd. Fails where two sources used one id."""
    op.create_table(
        "feedback_repeated",
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_feedback_repeated"),
    )
    op.execute("INSERT INTO feedback_repeated (model, count) SELECT model, count FROM feedback_fates WHERE fate = 'REPEATED'")
    op.drop_table("feedback_fates")
    op.drop_table("feedback_issues")
    for name, source in _TABLES.items():
        with op.batch_alter_table(name, table_kwargs={"sqlite_autoincrement": True}) as table:
            table.drop_constraint(f"uq_{name}_model_{source}_event_id", type_="unique")
            table.create_unique_constraint(f"uq_{name}_model_event_id", ["model", "event_id"])
            table.drop_column("fingerprint")
            table.drop_column("observed")
