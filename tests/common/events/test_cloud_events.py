from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.common.errors import InvalidField
from services.common.events import CloudEvent, envelope, read_envelope

MOMENT = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
GOOD = envelope(id="7", type="dev.regrow.feedback.v1", source="/gateway", time=MOMENT)


def test_the_headers_are_those_of_binary_mode() -> None:
    assert GOOD == {
        "ce_id": "7",
        "ce_type": "dev.regrow.feedback.v1",
        "ce_source": "/gateway",
        "ce_specversion": "1.0",
        "ce_time": "2026-01-31T09:30:00.123456+00:00",
        "content-type": "application/protobuf",
    }


def test_what_was_written_is_read_back() -> None:
    zone = timezone(timedelta(hours=-5))
    headers = envelope(
        id="ü 1",
        type="t",
        source="urn:x",
        time=MOMENT.astimezone(zone),
        subject="m",
        content_type="application/json",
        extensions={"traceparent": "00-a-b-01"},
    )
    assert read_envelope(headers) == CloudEvent(
        id="ü 1",
        type="t",
        source="urn:x",
        time=MOMENT,
        subject="m",
        content_type="application/json",
        extensions={"traceparent": "00-a-b-01"},
    )


def test_other_headers_are_no_part_of_it() -> None:
    assert read_envelope({**GOOD, "regrow_reason": "x", "traceparent": "y"}).extensions == {}


@pytest.mark.parametrize("header", ["ce_id", "ce_type", "ce_source", "ce_specversion", "ce_time", "content-type"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_header_that_every_event_needs_is_asked_for(header: str, value: str | None) -> None:
    headers = {name: text for name, text in GOOD.items() if name != header} | ({} if value is None else {header: value})
    with pytest.raises(InvalidField, match=f"headers.{header}: it is missing or empty"):
        read_envelope(headers)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_specversion", "0.3"),
        ("ce_source", "not a uri"),
        ("ce_subject", ""),
        ("ce_time", "yesterday"),
        ("ce_time", "2026-01-31"),
        ("ce_time", "2026-01-31T09:30:00"),
        ("ce_time", "2026-02-31T09:30:00Z"),
        ("ce_Trace", "x"),
        ("ce_" + "a" * 21, "x"),
        ("ce_", "x"),
    ],
)
def test_a_malformed_header_is_named(header: str, value: str) -> None:
    with pytest.raises(InvalidField, match=f"headers.{header}"):
        read_envelope({**GOOD, header: value})


def test_an_event_that_nobody_could_read_is_not_written() -> None:
    with pytest.raises(InvalidField, match="ce_time"):
        envelope(id="1", type="t", source="s", time=MOMENT.replace(tzinfo=None))
    with pytest.raises(InvalidField, match="ce_id"):
        envelope(id="", type="t", source="s", time=MOMENT)


@pytest.mark.parametrize("text", ["2026-01-31T09:30:00Z", "2026-01-31T10:30:00.5+01:00", "2026-01-31T09:30:00.123456789Z"])
def test_times_of_other_writers_are_read(text: str) -> None:
    assert read_envelope({**GOOD, "ce_time": text}).time.replace(microsecond=0) == MOMENT.replace(microsecond=0)
