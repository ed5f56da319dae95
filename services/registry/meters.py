"""What Prometheus hears of the outbox."""

from __future__ import annotations

import sqlalchemy as sa

from services.common.database import Database
from services.common.metering import ReadWhenAsked
from services.registry.tables import OutboxRow

PENDING = ReadWhenAsked("regrow_outbox_pending_events", "Changes of the registry that aren't in the event log yet.")


def read_from(database: Database) -> None:
    """Where the figure comes from."""
    PENDING.read_by(lambda: {"": _pending(database)})


def _pending(database: Database) -> float:
    with database.reading() as session:
        return float(session.scalar(sa.select(OutboxRow.last - OutboxRow.published)) or 0)
