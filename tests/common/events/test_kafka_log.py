"""What holds on Kafka beyond the contract of every log."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from services.common.errors import FailedPrecondition
from services.common.events import FEEDBACK, MOST_EVENT_BYTES, PREDICTIONS, REGISTRY, Consumer, Event, EventLog, Record, Topic
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_log import KafkaLog

pytestmark = pytest.mark.slow

SOON = timedelta(seconds=10)


@pytest.fixture
def access(kafka: str) -> KafkaAccess:
    return KafkaAccess(bootstrap=kafka, prefix=f"test-{secrets.token_hex(6)}.")


@pytest.fixture
def log(access: KafkaAccess) -> Iterator[EventLog]:
    opened = KafkaLog(access)
    opened.ensure_topics()
    yield opened
    opened.close()


def read(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < count and (polled := consumer.poll(timeout=SOON)):
        records += polled
    return records


def topic_settings(access: KafkaAccess, topic: str) -> dict[str, str]:
    with closing(KafkaAdminClient(bootstrap_servers=access.bootstrap)) as admin:
        name = access.topic(topic)
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])["topic"][name]
        return {key: one["value"] for key, one in found.items()}


def test_topics_are_made_with_their_retention_and_room_for_the_largest_event(access: KafkaAccess, log: EventLog) -> None:
    settings = topic_settings(access, FEEDBACK)
    assert settings["retention.ms"] == str(30 * 24 * 3600 * 1000)
    assert int(settings["max.message.bytes"]) > MOST_EVENT_BYTES
    assert settings["message.timestamp.type"] == "LogAppendTime"


def test_a_topics_retention_is_set_again_and_its_partitions_stay(access: KafkaAccess, log: EventLog) -> None:
    log.ensure_topics([Topic(name=PREDICTIONS, partitions=7, retention=timedelta(hours=1))])
    assert topic_settings(access, PREDICTIONS)["retention.ms"] == "3600000"
    assert len(log.ends(PREDICTIONS)) == 3


def test_more_replicas_than_brokers_are_refused_with_the_setting_to_change(kafka: str) -> None:
    access = KafkaAccess(bootstrap=kafka, prefix=f"test-{secrets.token_hex(6)}.", replication=3)
    with closing(KafkaLog(access)) as log, pytest.raises(FailedPrecondition, match="REGROW_KAFKA_REPLICATION"):
        log.ensure_topics()


def test_the_largest_event_is_kept(log: EventLog) -> None:
    event = Event(key="k", value=secrets.token_bytes(1 << 10) * ((16 << 10) - 1), headers={"ce_id": "1"})
    log.append(REGISTRY, [event, Event(key="k", value=b"after")])
    assert [record.value for record in read(log.consumer([REGISTRY]), 2)] == [event.value, b"after"]


def test_two_prefixes_share_a_cluster_and_nothing_else(kafka: str, log: EventLog) -> None:
    other = KafkaLog(KafkaAccess(bootstrap=kafka, prefix=f"test-{secrets.token_hex(6)}."))
    other.ensure_topics()
    log.append(REGISTRY, [Event(key="k", value=b"mine")])
    consumer = log.consumer([REGISTRY], group="g")
    read(consumer, 1)
    consumer.commit()
    assert other.ends(REGISTRY) == other.committed("g", REGISTRY) == {(REGISTRY, 0): 0}
    other.close()


def test_what_others_wrote_without_key_value_or_text_is_read_all_the_same(access: KafkaAccess, log: EventLog) -> None:
    with closing(KafkaProducer(bootstrap_servers=access.bootstrap)) as producer:
        producer.send(access.topic(REGISTRY), value=b"no key", headers=[("raw", b"\xff")]).get(10)
        producer.send(access.topic(REGISTRY), key=b"\xfe", value=None).get(10)
    first, second = read(log.consumer([REGISTRY]), 2)
    assert (first.key, first.value, first.headers) == ("", b"no key", {"raw": "\ufffd"})
    assert (second.key, second.value) == ("\ufffd", b"")


def test_transactions_of_others_are_read_when_they_are_committed_and_leave_no_lag(access: KafkaAccess, log: EventLog) -> None:
    consumer = log.consumer([REGISTRY], group="g")
    with closing(KafkaProducer(bootstrap_servers=access.bootstrap, transactional_id=access.prefix)) as producer:
        producer.init_transactions()
        for end, value in ((producer.abort_transaction, b"aborted"), (producer.commit_transaction, b"committed")):
            producer.begin_transaction()
            producer.send(access.topic(REGISTRY), value=value, key=b"k").get(10)
            end()
    assert [record.value for record in read(consumer, 1)] == [b"committed"]
    for _ in range(20):
        consumer.poll(timeout=timedelta(seconds=0.1))
        consumer.commit()
        if consumer.lag() == 0:
            break
    assert consumer.lag() == 0
