"""Problem specs, labelers, the votes of programs, and label sets."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "problem_specs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("project", sa.String(80), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_problem_specs"),
        sa.UniqueConstraint("name", name="uq_problem_specs_name"),
    )
    op.create_index("ix_problem_specs_project", "problem_specs", ["project"])
    op.create_index("ix_problem_specs_dataset", "problem_specs", ["dataset"])
    op.create_table(
        "labelers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("project", sa.String(80), nullable=False),
        sa.Column("problem_spec", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("retired", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_labelers"),
        sa.UniqueConstraint("name", name="uq_labelers_name"),
    )
    op.create_index("ix_labelers_project", "labelers", ["project"])
    op.create_index("ix_labelers_problem_spec", "labelers", ["problem_spec"])
    op.create_table(
        "vote_blocks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("labeler", sa.String(200), nullable=False),
        sa.Column("part_digest", sa.String(80), nullable=False),
        sa.Column("schema_digest", sa.String(80), nullable=False),
        sa.Column("object_key", sa.String(400), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("votes", sa.BigInteger(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vote_blocks"),
        sa.UniqueConstraint(
            "dataset",
            "labeler",
            "part_digest",
            "schema_digest",
            name="uq_vote_blocks_dataset_labeler_part_digest_schema_digest",
        ),
    )
    op.create_table(
        "label_sets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("problem_spec", sa.String(200), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_label_sets"),
        sa.UniqueConstraint("name", name="uq_label_sets_name"),
    )
    op.create_index("ix_label_sets_dataset", "label_sets", ["dataset"])
