"""Keys in the gateway's own database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import Database, Table, new_metadata, now, open_database
from services.common.listing import Asked, Collection, Sort, choice, text, time
from services.common.rpc.principal import Principal
from services.gateway.keys.rules import Former, Key, may_see_projects
from services.gateway.limits.rules import Limits
from services.gateway.policy import RANKS, PublicRole

MIGRATIONS = Path(__file__).parents[1] / "migrations"


class GatewayTable(Table):
    """Root of the gateway's tables."""

    __abstract__ = True
    metadata = new_metadata()


class KeyRow(GatewayTable):
    """One key. `projects` are ids, `models` names, joined by commas, which neither holds; empty is all.

    `pepper` is the id of the pepper that `digest` is under; empty where it is a bare SHA-256, as it was before peppers.
    """

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger, unique=True)
    display_name: Mapped[str] = mapped_column(sa.String(200))
    role: Mapped[str] = mapped_column(sa.String(16))
    projects: Mapped[str] = mapped_column(sa.Text)
    prefix: Mapped[str] = mapped_column(sa.String(16), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created: Mapped[datetime]
    last_used: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
    models: Mapped[str] = mapped_column(sa.Text)
    expires: Mapped[datetime | None]
    revision: Mapped[int]
    pepper: Mapped[str] = mapped_column(sa.String(16))
    former_prefix: Mapped[str | None] = mapped_column(sa.String(16), index=True)
    former_digest: Mapped[str | None] = mapped_column(sa.String(64))
    former_until: Mapped[datetime | None]
    calls_per_second: Mapped[float | None] = mapped_column(sa.Double)
    burst: Mapped[int | None]
    rows_per_day: Mapped[int | None] = mapped_column(sa.BigInteger)
    feedback_per_day: Mapped[int | None] = mapped_column(sa.BigInteger)


KEYS = Collection(
    {
        "name": text(sa.literal("keys/") + KeyRow.id), "display_name": text(KeyRow.display_name),
        "role": choice(KeyRow.role, {role: role for role in RANKS}), "prefix": text(sa.literal("rg_") + KeyRow.prefix),
        "create_time": time(KeyRow.created), "last_use_time": time(KeyRow.last_used, nullable=True),
        "expire_time": time(KeyRow.expires, nullable=True), "revoke_time": time(KeyRow.revoked, nullable=True),
    },
    key=[Sort(name="number", column=KeyRow.number, descending=True)],
)  # fmt: skip


def open_keys(url: str) -> Database:
    """The gateway's database, migrated."""
    return open_database(url, migrations=MIGRATIONS)


def add(session: Session, key: Key, pepper: str) -> None:
    """Inserts a key behind the newest one."""
    number = 1 + (session.scalar(sa.select(sa.func.max(KeyRow.number))) or 0)
    session.add(
        KeyRow(
            id=key.id, number=number, display_name=key.display_name, role=key.role, projects=",".join(key.projects),
            prefix=key.prefix, digest=key.digest, created=key.created, models=",".join(key.models), expires=key.expires,
            revision=key.revision, pepper=pepper, **_columns(key.limits),
        )
    )  # fmt: skip
    session.flush()


def is_empty(session: Session) -> bool:
    """Whether no key was ever made."""
    return session.scalar(sa.select(KeyRow.id).limit(1)) is None


def find(session: Session, key_id: str) -> Key | None:
    """A key by its id, revoked ones too."""
    row = session.get(KeyRow, key_id)
    return None if row is None else _key(row)


def with_prefix(session: Session, prefix: str) -> Sequence[Key]:
    """Keys that a secret with this prefix may belong to."""
    either = sa.or_(KeyRow.prefix == prefix, KeyRow.former_prefix == prefix)
    return [_key(row) for row in session.scalars(sa.select(KeyRow).where(either))]


def active(session: Session) -> Sequence[Key]:
    """All keys that aren't revoked and haven't expired."""
    lives = sa.or_(KeyRow.expires.is_(None), KeyRow.expires > now())
    return [_key(row) for row in session.scalars(sa.select(KeyRow).where(KeyRow.revoked.is_(None), lives))]


def put_under(session: Session, pepper: str, over: Callable[[str], str]) -> None:
    """Replaces bare digests by what `over` makes of them."""
    for row in session.scalars(sa.select(KeyRow).where(KeyRow.pepper == "").with_for_update()):
        row.digest, row.pepper = over(row.digest), pepper


def peppers(session: Session) -> Sequence[str]:
    """Ids of the peppers that keys are under."""
    return list(session.scalars(sa.select(KeyRow.pepper).distinct()))


def page(session: Session, viewer: Principal, ask: Asked, *, revoked: bool) -> tuple[list[Key], str]:
    """A page of the keys that the viewer may see, newest first, and the token of the next page."""
    query = sa.select(KeyRow)
    if not may_see_projects(viewer, ()):
        # A key's projects are one text, and there are few different ones: those that are inside the viewer's.
        scopes = session.scalars(sa.select(KeyRow.projects).distinct())
        query = query.where(KeyRow.projects.in_([one for one in scopes if may_see_projects(viewer, _split(one))]))
    if not revoked:
        query = query.where(KeyRow.revoked.is_(None))
    rows, token = KEYS.page(session, query, ask, scope=f"keys/{revoked}")
    return [_key(row) for row in rows], token


def lock_masters(session: Session) -> Sequence[str]:
    """Ids of the keys that can do everything, held until the transaction ends, so that two can't both be revoked last."""
    query = sa.select(KeyRow.id).where(
        KeyRow.role == "admin", KeyRow.projects == "", KeyRow.revoked.is_(None), KeyRow.expires.is_(None)
    )
    return list(session.scalars(query.order_by(KeyRow.id).with_for_update()))


def hold(session: Session, key_id: str) -> Key | None:
    """A key by its id, which nobody else changes until the transaction ends."""
    row = session.scalar(sa.select(KeyRow).where(KeyRow.id == key_id).with_for_update())
    return None if row is None else _key(row)


def update(session: Session, key: Key) -> None:
    """Writes what can change of a key that is held."""
    changed = {"display_name": key.display_name, "expires": key.expires, "revision": key.revision, **_columns(key.limits)}
    session.execute(sa.update(KeyRow).where(KeyRow.id == key.id).values(**changed))


def rotate(session: Session, key: Key, pepper: str) -> None:
    """Writes the secrets of a key that is held."""
    former = key.former
    session.execute(
        sa.update(KeyRow).where(KeyRow.id == key.id).values(
            prefix=key.prefix, digest=key.digest, pepper=pepper, revision=key.revision,
            former_prefix=former.prefix if former else None, former_digest=former.digest if former else None,
            former_until=former.until if former else None,
        )
    )  # fmt: skip


def revoke(session: Session, key_id: str, moment: datetime) -> None:
    """Marks a key; the first moment stays."""
    session.execute(sa.update(KeyRow).where(KeyRow.id == key_id, KeyRow.revoked.is_(None)).values(revoked=moment))


def touch(session: Session, used: Mapping[str, datetime]) -> None:
    """Notes when keys were last used; never back in time."""
    for key_id, moment in used.items():
        newer = sa.or_(KeyRow.last_used.is_(None), KeyRow.last_used < moment)
        session.execute(sa.update(KeyRow).where(KeyRow.id == key_id, newer).values(last_used=moment))


_LIMITS = ("calls_per_second", "burst", "rows_per_day", "feedback_per_day")


def _columns(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in _LIMITS}


def _split(joined: str) -> tuple[str, ...]:
    return tuple(filter(None, joined.split(",")))


def _key(row: KeyRow) -> Key:
    former = None
    if row.former_prefix is not None and row.former_digest is not None and row.former_until is not None:
        former = Former(prefix=row.former_prefix, digest=row.former_digest, until=row.former_until)
    return Key(
        id=row.id, display_name=row.display_name, role=cast(PublicRole, row.role),
        projects=_split(row.projects), prefix=row.prefix, digest=row.digest,
        created=row.created, last_used=row.last_used, revoked=row.revoked, models=_split(row.models),
        expires=row.expires, former=former, revision=row.revision,
        limits=Limits(**{name: getattr(row, name) for name in _LIMITS}),
    )  # fmt: skip
