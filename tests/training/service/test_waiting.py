"""What work that waits for an engine says, and for how long it does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.common.errors import EngineUnavailable
from services.training.waiting import waited_for


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("objects", "the object store, which can't be reached: the store doesn't answer"),
        ("database", "the database, which can't be reached: the store doesn't answer"),
        ("labeling", "labeling, which can't be reached: the store doesn't answer"),
    ],
)
def test_what_is_waited_for_is_told_by_its_name_and_with_the_reason(engine: str, told: str) -> None:
    assert waited_for(EngineUnavailable(engine, "the store doesn't answer", retry_after=timedelta(seconds=1))) == told
