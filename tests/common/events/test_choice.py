"""Settings alone decide which engine holds the log, and say what is wrong with them."""

from __future__ import annotations

import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from real_engines import free_port

from services.common import events
from services.common.errors import EngineUnavailable, FailedPrecondition, InvalidField
from services.common.events import PREDICTIONS, Event, events_from
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_log import KafkaLog
from services.common.settings import CommonSettings


def test_a_kafka_that_is_wanted_and_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.common.events.kafka_access", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'regrow\[kafka\]'"):
        events_from(CommonSettings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:1"))


@pytest.mark.slow
def test_a_start_waits_for_a_kafka_that_may_be_starting_too_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "START_PATIENCE", timedelta(seconds=0.1))
    port, began = free_port(), time.monotonic()
    with pytest.raises(EngineUnavailable, match=rf"Kafka at 127\.0\.0\.1:{port} doesn't answer"):
        events_from(CommonSettings(data_dir=tmp_path, kafka_bootstrap=f"127.0.0.1:{port}"))
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_kafka_that_is_away_is_told_by_every_call_and_leaves_no_threads_behind() -> None:
    log = KafkaLog(KafkaAccess(bootstrap=f"127.0.0.1:{free_port()}"), wait=timedelta(seconds=0.5))
    before = threading.active_count()
    calls = [
        log.check,
        log.ensure_topics,
        lambda: log.append(PREDICTIONS, [Event(key="k", value=b"")]),
        lambda: log.ends(PREDICTIONS),
    ]
    for call in calls:
        with pytest.raises(EngineUnavailable, match="Kafka at") as told:
            call()
        assert told.value.retry_after > timedelta(0)
    log.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"protocol": "SASL_SSL"}, "REGROW_KAFKA_USERNAME"),
        ({"protocol": "SASL_PLAINTEXT", "username": "regrow"}, "REGROW_KAFKA_PASSWORD"),
        ({"prefix": "no spaces"}, "REGROW_KAFKA_TOPIC_PREFIX"),
        ({"ca_file": Path("no-such.pem")}, "REGROW_KAFKA_CA_FILE"),
    ],
)
def test_settings_that_cannot_work_are_told_by_their_names(wrong: dict[str, object], setting: str) -> None:
    with pytest.raises(InvalidField, match=setting):
        KafkaAccess(bootstrap="127.0.0.1:9092", **wrong)  # type: ignore[arg-type]


def test_a_password_shows_nowhere() -> None:
    access = KafkaAccess(bootstrap="h:1", protocol="SASL_SSL", username="regrow", password=SecretStr("open sesame"))
    assert "sesame" not in f"{access!r} {access.told(RuntimeError('open sesame')).message}"
