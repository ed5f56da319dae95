from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.common.events import SqliteLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "events.db", wait=timedelta(seconds=0.3))
    opened.ensure_topics()
    yield opened
    opened.close()
