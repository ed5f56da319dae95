"""Feedback that a third party writes to the event log itself: on the embedded log, and from a process that knows only Kafka."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from gateway_world import RunningGateway
from prometheus_client import REGISTRY

from regrow.events.v1 import events_pb2
from services.common.errors import EngineUnavailable
from services.common.events import FEEDBACK, FEEDBACK_IN, Event, EventLog, dead_letters, events_from, replay

HEADERS = {"content-type": "application/cloudevents+json; charset=UTF-8"}


def event(model: str, number: object, **changes: Any) -> dict[str, Any]:
    """A CloudEvent as a producer writes it; `data` is merged, an attribute that is None left out."""
    data = {"prediction_id": f"p{number}", "class_names": ["ham"], **changes.pop("data", {})}
    whole = {"specversion": "1.0", "type": "regrow.feedback.v1", "source": "/crm", "id": str(number), "subject": model}
    return {name: value for name, value in {**whole, "data": data, **changes}.items() if value is not None}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Door:
    """The log as a third party sees it."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._ends = dict(log.ends(FEEDBACK))
        self._dead = len(list(dead_letters(log)))

    def write(self, *values: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
        self.log.append(FEEDBACK_IN, [Event(key="", value=one, headers=headers or HEADERS) for one in content])

    def accepted(self) -> dict[str, events_pb2.Feedback]:
        found: dict[str, events_pb2.Feedback] = {}
        with closing(self.log.consumer([FEEDBACK])) as consumer:
            while records := consumer.poll(timeout=timedelta(milliseconds=500)):
                fresh = [one for one in records if one.offset >= self._ends[one.topic, one.partition]]
                payloads = [events_pb2.Feedback.FromString(one.value) for one in fresh]
                found |= {payload.event_id: payload for payload in payloads if payload.source.startswith("log:")}
        return found

    def refused(self) -> list[str]:
        return [letter.reason for letter in dead_letters(self.log)][self._dead :]


@pytest.fixture
def model(world) -> str:
    name = "projects/shop/models/from-log"
    try:
        return world.champion("from-log")
    except Exception:
        return name


@pytest.fixture
def door(world, gateway) -> Iterator[Door]:
    log = events_from(world.settings())
    yield Door(log)
    log.close()


def test_what_a_third_party_writes_is_checked_and_committed_under_a_name_of_its_own(door, model) -> None:
    door.write(
        event(model, 1, time="2026-01-02T03:04:05Z"),
        event(model, 2, data={"prediction_id": "", "features": {"text": "free"}, "class_names": ["junk"]}, extension="x"),
    )
    wait_for(lambda: len(door.accepted()) == 2)
    first, second = (door.accepted()[name] for name in "12")
    assert (first.source, first.model, first.prediction_id) == ("log:/crm", model, "p1")
    assert (first.observe_time.ToJsonString(), first.key_id) == ("2026-01-02T03:04:05Z", "event-log")
    assert (dict(second.features), second.problem_spec) == ({"text": "free"}, "projects/shop/problemSpecs/spam")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"class_names": ["eggs"]}}, "data.class_names[0]: 'eggs' is no class"),
        ({"data": {"prediction_id": ""}}, "data.prediction_id"),
        ({"data": {"source": "shop"}}, "data.source: is given by"),
        ({"data": {"bogus": 1}}, "data.bogus: is no field"),
        ({"subject": "projects/shop/models/nobody"}, "NOT_FOUND"),
        ({"subject": "models/x"}, "subject:"),
        ({"subject": None}, "subject:"),
        ({"id": ""}, "id:"),
        ({"id": 5}, "id:"),
        ({"source": "x" * 97}, "source:"),
        ({"type": "other"}, "type:"),
        ({"specversion": "0.3"}, "specversion:"),
        ({"time": "yesterday"}, "INVALID_FIELD: time: 'yesterday' is no Timestamp"),
        ({"time": "2099-01-01T00:00:00Z"}, "INVALID_FIELD: time: '2099-01-01T00:00:00Z' is yet to come"),
        ({"data": {"observe_time": "2099-01-01T00:00:00Z"}}, "INVALID_FIELD: data.observe_time: '2099-01-01T00:00:00Z' is yet"),
    ],
)
def test_an_event_that_is_wrong_goes_to_the_dead_letter_with_its_reason(door, model, changes, said) -> None:
    before = REGISTRY.get_sample_value("regrow_feedback_log_records_total", {"outcome": "dead_letter"}) or 0.0
    door.write(event(model, secrets.token_hex(4), **changes))
    wait_for(lambda: len(door.refused()) == 1)
    assert said in door.refused()[0]
    wait_for(lambda: REGISTRY.get_sample_value("regrow_feedback_log_records_total", {"outcome": "dead_letter"}) == before + 1)


def test_bytes_that_are_no_event_stop_nothing(door, model) -> None:
    door.write(b"\xff\xfe", b"[]", b"", b"{" * 5000, b'"' + b"x" * (2 << 20), event(model, "after"))
    door.write(b'{"id": "1", "data": {"class_names": [], "class_names": []}}')
    door.write(b"<xml/>", headers={"content-type": "application/xml"})
    wait_for(lambda: "after" in door.accepted() and len(door.refused()) == 7)
    assert any("data.class_names: is given twice" in reason for reason in door.refused())


def test_a_dead_letter_that_is_replayed_when_its_cause_is_cured_is_accepted(door, world) -> None:
    name = f"cured-{secrets.token_hex(3)}"
    door.write(event(f"projects/shop/models/{name}", f"{name}-1"))
    wait_for(lambda: len(door.refused()) == 1)
    world.champion(name)
    replay(door.log, topic=FEEDBACK_IN)
    wait_for(lambda: f"{name}-1" in door.accepted())


def test_while_the_feedback_topic_takes_nothing_events_wait_in_the_log(door, gateway, model, monkeypatch) -> None:
    append, down = gateway.gateway._events.append, [True]

    def failing(topic: str, events: Any) -> Any:
        if topic == FEEDBACK and down[0]:
            raise EngineUnavailable("events", "it is down")
        return append(topic, events)

    monkeypatch.setattr(gateway.gateway._events, "append", failing)
    monkeypatch.setattr(gateway.gateway._feedback._appender, "_patience", 0.2)
    door.write(*(event(model, f"w{number}") for number in range(20)))
    time.sleep(0.6)
    assert not door.accepted()
    down[0] = False
    wait_for(lambda: len(door.accepted()) == 20)


PRODUCER = """
import json, sys
from kafka import KafkaProducer

bootstrap, topic, model = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
for number in range(300):
    label = "eggs" if number % 100 == 7 else "ham"
    event = {
        "specversion": "1.0", "type": "regrow.feedback.v1", "source": "/warehouse", "id": f"k{number % 250}",
        "subject": model, "data": {"prediction_id": f"p{number % 250}", "class_names": [label]},
    }
    headers = [("content-type", b"application/cloudevents+json")]
    producer.send(topic, json.dumps(event).encode(), key=None if number % 2 else b"\\xff", headers=headers)
producer.send(topic, None, key=b"tombstone")
producer.flush()
"""


@pytest.mark.slow
def test_a_producer_that_knows_only_kafka_gives_feedback(kafka, world, model) -> None:
    prefix = f"door-{secrets.token_hex(4)}."
    settings = world.settings(kafka_bootstrap=kafka, kafka_topic_prefix=prefix)
    running, log = RunningGateway(settings), events_from(settings)
    try:
        door = Door(log)
        arguments = [kafka, f"{prefix}{FEEDBACK_IN}", model]
        subprocess.run([sys.executable, "-I", "-c", PRODUCER, *arguments], check=True, timeout=60)
        wait_for(lambda: len(door.refused()) == 4 and len(door.accepted()) == 248)
        assert {one.source for one in door.accepted().values()} == {"log:/warehouse"}
        assert sum("'eggs' is no class" in reason for reason in door.refused()) == 3
    finally:
        running.stop()
        log.close()
