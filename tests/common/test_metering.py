"""Figures that are read when Prometheus asks, and meters around engines."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest
from prometheus_client import REGISTRY

from services.common.errors import EngineUnavailable, NotFound
from services.common.metering import Meter, ReadWhenAsked


@pytest.fixture
def name() -> str:
    return f"regrow_test_{secrets.token_hex(4)}"


def test_a_figure_is_read_at_the_scrape_and_shows_zero_for_what_there_is_none_of(name: str) -> None:
    counts = {"red": 2.0}
    figure = ReadWhenAsked(name, "Apples.", label="colour", values=("red", "green"))
    figure.read_by(lambda: counts)
    assert REGISTRY.get_sample_value(name, {"colour": "red"}) == 2
    assert REGISTRY.get_sample_value(name, {"colour": "green"}) == 0
    counts["red"] = 3
    assert REGISTRY.get_sample_value(name, {"colour": "red"}) == 3
    REGISTRY.unregister(figure)


@pytest.mark.parametrize("error", [EngineUnavailable("database", "it is locked"), RuntimeError("a bug")])
def test_a_figure_that_cannot_be_read_is_absent_and_keeps_no_other_from_the_scrape(name: str, error: Exception) -> None:
    def fail() -> Mapping[str, float]:
        raise error

    figure = ReadWhenAsked(name, "Apples.")
    figure.read_by(lambda: {"": 1.0})
    assert REGISTRY.get_sample_value(name) == 1
    figure.read_by(fail)
    assert REGISTRY.get_sample_value(name) is None
    assert REGISTRY.get_sample_value("process_start_time_seconds") is not None
    REGISTRY.unregister(figure)


def test_a_meter_times_everything_and_counts_as_errors_only_what_the_engine_is_to_blame_for() -> None:
    what = f"test_{secrets.token_hex(4)}"
    meter = Meter(what, "calls of a test", "operation")
    with pytest.raises(NotFound), meter.around("get"):
        raise NotFound("apple", "red")
    with pytest.raises(EngineUnavailable), meter.around("get"):
        raise EngineUnavailable("objects", "it is down")
    assert REGISTRY.get_sample_value(f"regrow_{what}_seconds_count", {"operation": "get"}) == 2
    assert REGISTRY.get_sample_value(f"regrow_{what}_errors_total", {"operation": "get"}) == 1
