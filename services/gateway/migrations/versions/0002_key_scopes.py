"""Keys under a pepper, with models, an end, and rotation."""

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. An empty `pepper` marks a bare digest; the gateway puts its pepper over it when it starts."""
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("models", sa.Text(), nullable=False, server_default=""))
        keys.add_column(sa.Column("expires", UtcDateTime(), nullable=True))
        keys.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
        keys.add_column(sa.Column("pepper", sa.String(16), nullable=False, server_default=""))
        keys.add_column(sa.Column("former_prefix", sa.String(16), nullable=True))
        keys.add_column(sa.Column("former_digest", sa.String(64), nullable=True))
        keys.add_column(sa.Column("former_until", UtcDateTime(), nullable=True))
        keys.create_index(op.f("ix_keys_former_prefix"), ["former_prefix"])


def downgrade() -> None:
    """Drops the columns. Keys under a pepper are unknown then: `regrow keys reset` makes a new admin key."""
    with op.batch_alter_table("keys") as keys:
        keys.drop_index(op.f("ix_keys_former_prefix"))
        for name in ("former_until", "former_digest", "former_prefix", "pepper", "revision", "expires", "models"):
            keys.drop_column(name)
