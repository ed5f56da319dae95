"""What work that waits for an engine says, and for how long it does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.common.errors import EngineUnavailable
from services.training.waiting import problem_of, waited_for


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


def test_work_that_gave_up_says_how_long_it_waited_and_other_failures_are_told_as_they_are() -> None:
    away = EngineUnavailable("objects", "the store doesn't answer")
    told = problem_of({"reason": away.reason, "message": away.message}, timedelta(hours=1))
    assert told == (
        "It waited 1:00:00 for the object store, which can't be reached: the store doesn't answer."
        " Submit it again when that is back."
    )
    assert problem_of({"reason": "NOT_FOUND", "message": "There is no object."}, timedelta(hours=1)) == "There is no object."
