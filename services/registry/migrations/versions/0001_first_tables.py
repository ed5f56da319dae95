"""Projects, models, versions, aliases with their moves, and the outbox with its one row."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.common.database import UtcDateTime

revision = "0001"
down_revision = None

_ID = sa.String(63)
_NAME = sa.String(400)
_ETAG = sa.String(32)
_MODEL = ("project", "model")


def upgrade() -> None:
    """Makes the tables."""
    _make_nouns()
    _make_history()
    _make_outbox()
    op.create_table(
        "idempotency_keys",
        _column("scope", sa.String(300)), _column("request_id", sa.String(128)), _column("fingerprint", sa.String(64)),
        _column("result", sa.Text()), _column("created", UtcDateTime()),
        sa.PrimaryKeyConstraint("scope", "request_id", name="pk_idempotency_keys"),
    )  # fmt: skip
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created"])


def downgrade() -> None:
    """Drops them, and all that is in them."""
    for table in ("idempotency_keys", "outbox", "changes", "alias_moves", "aliases", "versions", "models", "projects"):
        op.drop_table(table)


def _make_nouns() -> None:
    op.create_table(
        "projects",
        _column("project", _ID), _column("description", sa.Text()), _column("created", UtcDateTime()),
        sa.PrimaryKeyConstraint("project", name="pk_projects"),
    )  # fmt: skip
    op.create_table(
        "models",
        _column("project", _ID), _column("model", _ID), _column("description", sa.Text()), _column("latest", sa.Integer()),
        _column("created", UtcDateTime()),
        sa.ForeignKeyConstraint(["project"], ["projects.project"], name="fk_models_project"),
        sa.PrimaryKeyConstraint(*_MODEL, name="pk_models"),
    )  # fmt: skip
    op.create_table(
        "versions",
        _column("project", _ID), _column("model", _ID), _column("number", sa.Integer()),
        _column("bundle_digest", sa.String(71)), _column("run", _NAME),
        _column("receipt", sa.Text()), _column("scores", sa.Text()), _column("parts", sa.Text()),
        _column("created", UtcDateTime()),
        _reference("versions", _MODEL, "models", _MODEL),
        sa.PrimaryKeyConstraint(*_MODEL, "number", name="pk_versions"),
    )  # fmt: skip


def _make_history() -> None:
    op.create_table(
        "aliases",
        _column("project", _ID), _column("model", _ID), _column("alias", _ID), _column("version", sa.Integer()),
        _column("etag", _ETAG), _column("moved", UtcDateTime()), _column("moves", sa.Integer()),
        _reference("aliases", (*_MODEL, "version"), "versions", (*_MODEL, "number")),
        sa.PrimaryKeyConstraint(*_MODEL, "alias", name="pk_aliases"),
    )  # fmt: skip
    op.create_table(
        "alias_moves",
        _column("project", _ID), _column("model", _ID), _column("alias", _ID), _column("number", sa.Integer()),
        _column("from_version", sa.Integer()), _column("to_version", sa.Integer()), _column("etag", _ETAG),
        _column("moved", UtcDateTime()), _column("moved_by", sa.Text()), _column("why", sa.Text()),
        _reference("alias_moves", (*_MODEL, "alias"), "aliases", (*_MODEL, "alias")),
        _reference("alias_moves", (*_MODEL, "to_version"), "versions", (*_MODEL, "number")),
        sa.PrimaryKeyConstraint(*_MODEL, "alias", "number", name="pk_alias_moves"),
    )  # fmt: skip
    op.create_index("ix_alias_moves_moved", "alias_moves", [*_MODEL, "alias", "moved"])


def _make_outbox() -> None:
    op.create_table(
        "changes",
        _column("sequence", sa.BigInteger()), _column("kind", sa.String(32)), _column("name", _NAME), _column("model", _NAME),
        _column("version", sa.Integer()), _column("alias", _ID), _column("changed", UtcDateTime()),
        sa.PrimaryKeyConstraint("sequence", name="pk_changes"),
    )  # fmt: skip
    outbox = op.create_table(
        "outbox",
        _column("id", sa.Integer()), _column("last", sa.BigInteger()), _column("published", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )  # fmt: skip
    op.bulk_insert(outbox, [{"id": 1, "last": 0, "published": 0}])


def _column(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def _reference(table: str, columns: tuple[str, ...], target: str, keys: tuple[str, ...]) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(list(columns), [f"{target}.{key}" for key in keys], name=f"fk_{table}_{'_'.join(columns)}")
