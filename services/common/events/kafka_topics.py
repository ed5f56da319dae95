"""Regrow's topics on a cluster: made and checked at start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType

from services.common.errors import EngineUnavailable, FailedPrecondition, InvalidField
from services.common.events.kafka_access import KafkaAccess, answered
from services.common.events.kafka_admin import KafkaAdmin
from services.common.events.kafka_append import MOST_MESSAGE_BYTES
from services.common.events.port import Topic

SEGMENT_BYTES = 128 << 20
"""Retention removes whole segments: Kafka's default of 1 GiB would keep more of a topic than `retention_bytes` says."""

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_REFUSALS = (
    errors.AuthorizationError,
    errors.PolicyViolationError,
    errors.InvalidReplicationFactorError,
    errors.InvalidConfigurationError,
    errors.InvalidTopicError,
)
_log = structlog.get_logger(__name__)


def ensure(admin: KafkaAdmin, access: KafkaAccess, topics: Sequence[Topic]) -> None:
    """See `EventLog.ensure_topics`. Raises `FailedPrecondition` that tells what an operator must change on the cluster."""
    for topic in topics:
        if not _NAME.fullmatch(access.topic(topic.name)) or not 1 <= topic.partitions <= 1000:
            raise InvalidField("topics", f"{topic} needs a name of letters, digits and '._-' and 1 to 1000 partitions.")
    there = admin.describe([topic.name for topic in topics])
    missing = [topic for topic in topics if topic.name not in there]
    for topic in missing:
        _make(admin, access, topic)
    if missing:
        admin.ask(lambda client: client.wait_for_topics([access.topic(topic.name) for topic in missing]))
    for topic in topics:
        if topic.name in there:
            _check(admin, access, topic, partitions=len(there[topic.name]))


def check(admin: KafkaAdmin, access: KafkaAccess, topics: Sequence[Topic]) -> None:
    """Raises `EngineUnavailable` where a topic is gone, or a partition has no leader that would take a record."""
    there = admin.describe([topic.name for topic in topics])
    for topic in topics:
        leaderless = [one["partition_index"] for one in there.get(topic.name, []) if one["leader_id"] < 0]
        if topic.name not in there:
            raise EngineUnavailable("events", f"Kafka at {access.bootstrap} has no topic '{access.topic(topic.name)}' any more")
        if leaderless:
            where = f"partitions {leaderless} of '{access.topic(topic.name)}'"
            raise EngineUnavailable("events", f"Kafka at {access.bootstrap} has no leader for {where}")


def _make(admin: KafkaAdmin, access: KafkaAccess, topic: Topic) -> None:
    name = access.topic(topic.name)
    wanted = {
        "num_partitions": topic.partitions,
        "replication_factor": access.replication,
        "configs": _configs(topic) | {"min.insync.replicas": str(1 if access.replication < 3 else 2)},
    }
    refusal = admin.ask(lambda client: _created(client, {name: wanted}))
    if refusal:
        what = f"make the topic '{name}' with {topic.partitions} partitions and replication factor {access.replication}"
        raise _refused(access, what, refusal)


def _created(client: Any, wanted: Mapping[str, object]) -> str:
    """Kafka's name of the error where the cluster says no and will again, else nothing."""
    try:
        client.create_topics(wanted)
    except errors.TopicAlreadyExistsError:
        pass  # another process starts at the same time
    except _REFUSALS as error:
        return answered(error)
    return ""


def _check(admin: KafkaAdmin, access: KafkaAccess, topic: Topic, *, partitions: int) -> None:
    if partitions != topic.partitions:
        _log.info("topic_keeps_its_partitions", topic=topic.name, partitions=partitions, wanted=topic.partitions)
    name, wanted = access.topic(topic.name), _configs(topic)
    resource = ConfigResource(ConfigResourceType.TOPIC, name, list(wanted))
    found = admin.ask(lambda client: client.describe_configs([resource], config_filter="all"))["topic"].get(name, {})
    differing = {key: value for key, value in wanted.items() if key not in found or found[key]["value"] != value}
    refusal = admin.ask(lambda client: _altered(client, name, differing)) if differing else ""
    if not refusal:
        return
    what = f"set {', '.join(f'{key}={value}' for key, value in differing.items())} of the topic '{name}'"
    if "max.message.bytes" in differing:
        raise _refused(access, what, refusal)
    _log.warning("topic_keeps_its_settings", problem=_refused(access, what, refusal).message)


def _altered(client: Any, name: str, differing: Mapping[str, str]) -> str:
    """Kafka's name of the error where the cluster refuses, else nothing."""
    change = ConfigResource(ConfigResourceType.TOPIC, name, dict(differing))
    try:
        answer = client.alter_configs([change], raise_on_unknown=False)["topic"][name]
    except _REFUSALS as error:
        return answered(error)
    return "" if answer == "OK" else str(answer)[:200]


def _configs(topic: Topic) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention // timedelta(milliseconds=1)),
        "retention.bytes": str(topic.retention_bytes // topic.partitions),
        "segment.bytes": str(min(SEGMENT_BYTES, max(1 << 20, topic.retention_bytes // topic.partitions))),
        "max.message.bytes": str(MOST_MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",
    }


def _refused(access: KafkaAccess, what: str, kind: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"Kafka at {access.bootstrap} refuses to {what} ({kind})."
        " Allow it to Regrow's user, do it by hand, or set REGROW_KAFKA_REPLICATION to what the cluster has.",
        reason="KAFKA_TOPIC_REFUSED",
    )
