"""The base of every table of the labeling service: one metadata, so that one migration tree covers them all."""

from __future__ import annotations

from services.common.database import Table, new_metadata


class LabelingTable(Table):
    """Derive each table from this; its module must be imported by `migrations/env.py` to be seen."""

    __abstract__ = True
    metadata = new_metadata()
