"""Dead letters through the door: listed in pages, put back once, for admins of all projects alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from regrow.events.v1 import events_pb2
from services.common.events import (
    DEAD_LETTER,
    FEEDBACK,
    FEEDBACK_IN,
    REGISTRY,
    Event,
    EventLog,
    Record,
    events_from,
    send_to_dead_letter,
)


@pytest.fixture
def log(world) -> Iterator[EventLog]:
    opened = events_from(world.settings())
    yield opened
    opened.close()


@pytest.fixture
def buried(log: EventLog, call) -> list[str]:
    """Ids of five feedback events set aside; what other tests left is put back first."""
    for topic in (FEEDBACK, REGISTRY):
        call("POST", "/v1/deadLetters:replay", json={"topic": topic})
    ids = [f"event-{number}" for number in range(5)]
    for number, event_id in enumerate(ids):
        bury(log, FEEDBACK, event_id, offset=number)
    return ids


def bury(log: EventLog, topic: str, event_id: str, offset: int = 0) -> None:
    headers = {"ce_id": event_id, "ce_type": "regrow.feedback.v1"}
    [(partition, _)] = log.append(topic, [Event(key="projects/shop/models/m", value=b"12345", headers=headers)])
    record = Record(
        topic=topic, partition=partition, offset=offset, key="projects/shop/models/m", value=b"12345", headers=headers,
        time=None,  # type: ignore[arg-type]  # not kept
    )  # fmt: skip
    send_to_dead_letter(log, record, reason="INVALID_FIELD: no such class", group="labeling")


def test_dead_letters_are_listed_in_pages_with_what_they_were_and_why(call, buried: list[str]) -> None:
    seen, token = [], ""
    while True:
        page = call("GET", f"/v1/deadLetters?topic={FEEDBACK}&page_size=2&page_token={token}").json()
        seen += page.get("deadLetters", [])
        if not (token := page.get("nextPageToken", "")):
            break
    assert [letter["eventId"] for letter in seen] == buried
    first = seen[0]
    assert (first["topic"], first["consumerGroup"], first["key"]) == (FEEDBACK, "labeling", "projects/shop/models/m")
    assert (first["reason"], first["sizeBytes"]) == ("INVALID_FIELD: no such class", "5")
    assert first["eventType"] == "regrow.feedback.v1"
    assert first["createTime"].startswith("20")


def test_a_replay_puts_them_back_once_and_the_list_leaves_them_out_unless_asked(call, log, buried: list[str]) -> None:
    bury(log, REGISTRY, "another topic")
    before = sum(log.ends(FEEDBACK).values())
    replay = {"topic": FEEDBACK, "maxCount": 2}
    assert call("POST", "/v1/deadLetters:replay", json=replay).json() == {"replayedCount": "2"}
    waiting = call("GET", f"/v1/deadLetters?topic={FEEDBACK}").json()["deadLetters"]
    assert [letter["eventId"] for letter in waiting] == buried[2:]
    assert call("POST", "/v1/deadLetters:replay", json={"topic": FEEDBACK}).json() == {"replayedCount": "3"}
    assert call("POST", "/v1/deadLetters:replay", json={"topic": FEEDBACK}).json().get("replayedCount", "0") == "0"
    assert sum(log.ends(FEEDBACK).values()) == before + 5
    others = call("GET", "/v1/deadLetters").json()["deadLetters"]
    assert [letter["eventId"] for letter in others if letter["topic"] in (FEEDBACK, REGISTRY)] == ["another topic"]
    shown = call("GET", "/v1/deadLetters?show_replayed=true&page_size=1000").json()["deadLetters"]
    assert {letter["eventId"]: letter["replayed"] for letter in shown if letter.get("replayed")}.keys() >= set(buried)


def test_a_topic_that_is_none_is_told_with_those_that_are(call, error) -> None:
    for answer in (
        call("GET", "/v1/deadLetters?topic=nonsense"),
        call("POST", "/v1/deadLetters:replay", json={"topic": DEAD_LETTER}),
    ):
        assert answer.status_code == 400
        assert {"regrow.feedback", "regrow.predictions"} <= set(error(answer)["message"].replace(",", "").split())


def test_only_admins_of_all_projects_see_and_replay(call, new_key) -> None:
    for key in (new_key("editor"), new_key("admin", "shop")):
        assert call("GET", "/v1/deadLetters", key=key).status_code == 403
        assert call("GET", "/v1/deadLetters/0-0", key=key).status_code == 403
        assert call("POST", "/v1/deadLetters:replay", key=key, json={"topic": FEEDBACK}).status_code == 403


def set_aside(log: EventLog, value: bytes, headers: dict[str, str], topic: str = FEEDBACK_IN) -> None:
    record = Record(topic=topic, partition=0, offset=0, key="", value=value, headers=headers, time=datetime.now(UTC))
    send_to_dead_letter(log, record, reason="INVALID_FIELD: so", group="gateway")


def newest(call) -> dict[str, Any]:
    letters: list[dict[str, Any]] = call("GET", "/v1/deadLetters?page_size=1000").json()["deadLetters"]
    return letters[-1]


def test_what_a_third_party_wrote_in_json_is_listed_by_its_id_and_shown_as_it_was_written(call, log) -> None:
    written = '{"specversion": "1.0", "type": "regrow.feedback.v1", "id": "crm-17", "data": {"note": "schön"}}'
    set_aside(log, written.encode(), {"content-type": "application/cloudevents+json"})
    listed = newest(call)
    assert (listed["eventId"], listed["eventType"], listed["payload"]) == ("crm-17", "regrow.feedback.v1", "")
    shown = call("GET", f"/v1/{listed['name']}").json()
    assert (shown["payloadText"], base64.b64decode(shown["payload"]).decode()) == (written, written)
    assert shown["headers"] == {"content-type": "application/cloudevents+json"}
    assert {**listed, "payload": "", "payloadText": "", "headers": {}} == {
        **shown, "payload": "", "payloadText": "", "headers": {}
    }  # fmt: skip


def test_regrows_own_messages_are_shown_as_json_and_other_bytes_as_bytes_of_a_bounded_size(call, log) -> None:
    own = events_pb2.Feedback(event_id="e", prediction_id="p", class_names=["ham"])
    headers = {"ce_id": "e", "ce_type": "regrow.feedback.v1", "content-type": "application/protobuf"}
    set_aside(log, own.SerializeToString(), headers, topic=FEEDBACK)
    shown = call("GET", f"/v1/{newest(call)['name']}").json()
    assert json.loads(shown["payloadText"]) == {"eventId": "e", "predictionId": "p", "classNames": ["ham"]}
    set_aside(log, b"\xff" * 100_000, {})
    shown = call("GET", f"/v1/{newest(call)['name']}").json()
    assert (shown["payloadText"], shown["eventId"], shown["sizeBytes"]) == ("", "", "100000")
    assert base64.b64decode(shown["payload"]) == b"\xff" * (64 << 10)


@pytest.mark.parametrize("name", ["0-99999999", "7-0", "0", "0-0-0", "x-1"])
def test_a_dead_letter_that_isnt_there_is_not_found(call, error, name: str) -> None:
    answer = call("GET", f"/v1/deadLetters/{name}")
    assert (answer.status_code, error(answer)["reason"]) == (404, "NOT_FOUND")
