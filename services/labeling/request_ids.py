"""The labeling service's memory of `request_id`s (see `services.common.idempotency`)."""

from __future__ import annotations

from services.common.idempotency import IdempotencyColumns
from services.labeling.tables import LabelingTable


class IdempotencyKey(IdempotencyColumns, LabelingTable):
    """One remembered call."""

    __tablename__ = "idempotency_keys"
