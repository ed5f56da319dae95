"""What each key used on each day, in the gateway's database: sums over all gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.gateway.keys.storage import GatewayTable
from services.gateway.limits.rules import Used


class UsageRow(GatewayTable):
    """One key's day. `day` counts from 1970, in UTC."""

    __tablename__ = "key_usage"
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key_id: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    rows: Mapped[int] = mapped_column(sa.BigInteger)
    feedback: Mapped[int] = mapped_column(sa.BigInteger)


def add(session: Session, used: Mapping[tuple[str, int], Used]) -> None:
    """Adds to what is there, by (key id, day)."""
    dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    for (key_id, day), one in sorted(used.items()):
        insert = dialect.insert(UsageRow).values(day=day, key_id=key_id, rows=one.rows, feedback=one.feedback)
        session.execute(
            insert.on_conflict_do_update(
                index_elements=["day", "key_id"],
                set_={"rows": UsageRow.rows + one.rows, "feedback": UsageRow.feedback + one.feedback},
            )
        )


def of_day(session: Session, day: int) -> dict[str, Used]:
    """What every key used on a day."""
    rows = session.scalars(sa.select(UsageRow).where(UsageRow.day == day))
    return {row.key_id: Used(rows=row.rows, feedback=row.feedback) for row in rows}


def forget_before(session: Session, day: int) -> None:
    """Removes older days."""
    session.execute(sa.delete(UsageRow).where(UsageRow.day < day))
