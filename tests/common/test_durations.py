"""Durations as callers write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from services.common.durations import span
from services.common.errors import InvalidField


def test_a_duration_is_the_time_that_was_written() -> None:
    assert span(Duration(seconds=90, nanos=500_000_000), "grace") == timedelta(seconds=90.5)
    assert span(Duration(seconds=-5), "grace") == timedelta(seconds=-5)
    assert span(Duration(), "grace") == timedelta()


@pytest.mark.parametrize("seconds", [1 << 62, -(1 << 62), 400_000_000_000])
def test_a_duration_that_the_type_does_not_allow_is_refused_by_its_field(seconds: int) -> None:
    with pytest.raises(InvalidField, match=r"policy\.max_age"):
        span(Duration(seconds=seconds), "policy.max_age")
