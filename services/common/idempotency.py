"""`request_id` kept (AIP-155): the same call sent twice is done once, and both get the same answer.

A service adds the table to its metadata and its migration:

    class IdempotencyKey(IdempotencyColumns, RegistryTable):
        __tablename__ = "idempotency_keys"

and asks inside the transaction that does the work:

    key = {"scope": parent, "request_id": request.request_id, "fingerprint": fingerprint(request)}
    with database.session() as session:
        if name := recall(session, IdempotencyKey, **key):
            return read(session, name)
        model = create(session, ...)
        remember(session, IdempotencyKey, **key, result=model.name)

An empty request_id means that the caller didn't ask for it: `recall` answers None and `remember` does nothing.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import UtcDateTime, now
from services.common.errors import InvalidField, RequestIdReused

KEEP = timedelta(days=7)
"""How long a request_id is remembered."""


class IdempotencyColumns:
    """The columns of a service's `idempotency_keys` table. `result` is what the first call answered, most often a name."""

    scope: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    request_id: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    result: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)


def fingerprint(request: Message) -> str:
    """What a call asks for, whatever its request_id: the sha256 of the message without that field."""
    content = type(request)()
    content.CopyFrom(request)
    if "request_id" in content.DESCRIPTOR.fields_by_name:
        content.ClearField("request_id")
    return hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()


def recall(session: Session, table: type[IdempotencyColumns], *, scope: str, request_id: str, fingerprint: str) -> str | None:
    """The result of the call that had this request_id, or None for the first one, which then holds it until its commit.

    Raises `RequestIdReused` where that call had another content, `InvalidField` for an id over 128 characters.
    """
    if not request_id:
        return None
    if len(request_id) > 128:
        raise InvalidField("request_id", "is longer than 128 characters. A UUID has 36.")
    _hold(session, f"{scope}\n{request_id}")
    found: Any = session.get(table, (scope, request_id))
    if found is None:
        return None
    if found.fingerprint != fingerprint:
        raise RequestIdReused(request_id)
    return str(found.result)


def remember(
    session: Session, table: type[IdempotencyColumns], *, scope: str, request_id: str, fingerprint: str, result: str
) -> None:
    """Keeps the result with the transaction's other changes, and forgets what is older than `KEEP`."""
    if not request_id:
        return
    session.execute(sa.delete(table).where(table.created < now() - KEEP))
    session.add(table(scope=scope, request_id=request_id, fingerprint=fingerprint, result=result))  # type: ignore[call-arg]
    session.flush()


def _hold(session: Session, key: str) -> None:
    """On PostgreSQL a twin of this call waits here. On SQLite it already does: `session()` is the only writer."""
    if session.get_bind().dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
