"""How far the log is applied, and how much is left."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.common.events.port import FEEDBACK, EventLog
from services.labeling.feedback.storage import AppliedOffset

GROUP = "labeling"
"""The consumer group of the labeling service."""

Offsets = Mapping[tuple[str, int], int]


def stored_offsets(session: Session, topic: str) -> dict[tuple[str, int], int]:
    """By this database: the first offset of each partition that isn't applied; absent where no record was ever applied."""
    rows = session.scalars(sa.select(AppliedOffset).where(AppliedOffset.topic == topic))
    return {(row.topic, row.partition): row.next_offset for row in rows}


def store_offsets(session: Session, offsets: Offsets) -> None:
    """Remembers, in the transaction that applies the records, how far each partition is applied. Never goes back."""
    for (topic, partition), offset in offsets.items():
        row = session.get(AppliedOffset, (topic, partition))
        if row is None:
            session.add(AppliedOffset(topic=topic, partition=partition, next_offset=offset))
        else:
            row.next_offset = max(row.next_offset, offset)


def applied(session: Session, reached: Offsets, topic: str = FEEDBACK) -> dict[tuple[str, int], int]:
    """The further of this database's account and the group's commits: a dead letter is committed but never stored here."""
    stored = stored_offsets(session, topic)
    return {key: max(stored.get(key, 0), reached.get(key, 0)) for key in stored.keys() | reached.keys()}


def lag(session: Session, log: EventLog, topic: str = FEEDBACK) -> int:
    """Records of a topic that aren't applied yet."""
    done = applied(session, log.committed(GROUP, topic), topic)
    return sum(max(0, end - done.get(key, 0)) for key, end in log.ends(topic).items())
