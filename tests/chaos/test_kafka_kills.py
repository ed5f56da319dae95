"""Kafka killed with SIGKILL under producers and consumers: nothing acknowledged is lost, and nothing waits without a bound."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from real_engines import SHORT_LEASES, Server, kafka_server, running

from services.common.errors import EngineUnavailable, Unavailable
from services.common.events import FEEDBACK, Event, EventLog, Record, run_consumer
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_append import MOST_WAITING_BYTES
from services.common.events.kafka_log import KafkaLog

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WAIT = timedelta(seconds=2)
WRITERS, BATCH, KILLS = 3, 10, 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test leaves it running."""
    with running(kafka_server(tmp_path_factory.mktemp("broker"), extra=SHORT_LEASES)) as server:
        yield server


@pytest.fixture
def opened(broker: Server) -> Iterator[Callable[[], EventLog]]:
    """Opens a log of the broker; closed with the test."""
    logs: list[KafkaLog] = []

    def one() -> EventLog:
        logs.append(KafkaLog(KafkaAccess(bootstrap=broker.address), wait=WAIT, lease=timedelta(seconds=3)))
        return logs[-1]

    if broker.process is None or broker.process.poll() is not None:  # a test that failed left it so
        broker.start()
    one().ensure_topics()
    yield one
    for log in logs:
        log.close()


class Writer(threading.Thread):
    """Appends numbered batches, each until it is acknowledged."""

    def __init__(self, log: EventLog, name: str, stop: threading.Event) -> None:
        super().__init__()
        self._log, self._key, self._stopped = log, name, stop
        self.acknowledged = 0
        self.refusals: list[EngineUnavailable] = []
        self.longest = 0.0

    def run(self) -> None:
        while not self._stopped.is_set():
            events = [Event(key=self._key, value=b"%d" % (self.acknowledged * BATCH + n)) for n in range(BATCH)]
            began = time.monotonic()
            try:
                self._log.append(FEEDBACK, events)
            except EngineUnavailable as error:
                self.refusals.append(error)
                time.sleep(0.05)
            else:
                self.acknowledged += 1
            self.longest = max(self.longest, time.monotonic() - began)


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_what_was_acknowledged_outlives_every_kill_and_consumers_go_on(broker: Server, opened: Callable[[], EventLog]) -> None:
    stop, handled = threading.Event(), defaultdict[str, list[int]](list)

    def handle(records: Sequence[Record]) -> None:
        for record in records:
            handled[record.key].append(int(record.value))

    writers = [Writer(log, f"w{number}", stop) for number, log in enumerate([opened()] * (WRITERS - 1) + [opened()])]
    consuming = threading.Event()
    consumer = threading.Thread(target=run_consumer, args=(opened(), [FEEDBACK], "labeling", handle, consuming))
    for thread in (*writers, consumer):
        thread.start()
    try:
        for _ in range(KILLS):
            before = sum(writer.acknowledged for writer in writers)
            assert until(lambda before=before: sum(writer.acknowledged for writer in writers) >= before + 30)  # type: ignore[misc]
            broker.kill()
            time.sleep(1.5 * WAIT.total_seconds())  # long enough for refusals
            broker.start()
        assert until(lambda: all(writer.acknowledged > 30 for writer in writers))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    expected = {f"w{number}": writer.acknowledged * BATCH for number, writer in enumerate(writers)}
    assert until(lambda: all(set(range(count)) <= set(handled[key]) for key, count in expected.items()))
    consuming.set()
    consumer.join()
    for key in expected:  # first occurrences are in order: a batch that is sent again never overtakes
        firsts = list(dict.fromkeys(handled[key]))
        assert firsts == sorted(firsts)
    assert all(writer.refusals for writer in writers)
    assert all(error.retry_after > timedelta(0) for writer in writers for error in writer.refusals)
    assert max(writer.longest for writer in writers) < 30


def test_what_waits_for_a_dead_broker_is_bounded_and_refused_with_a_retry_time(
    broker: Server, opened: Callable[[], EventLog]
) -> None:
    log = opened()
    log.append(FEEDBACK, [Event(key="k", value=b"up")])
    log.check()
    broker.kill()
    with pytest.raises(EngineUnavailable, match=f"Kafka at {broker.address} doesn't answer"):
        log.check()
    large = [Event(key="k", value=bytes(8 << 20))]
    refusals: list[Unavailable] = []

    def insist() -> None:
        for _ in range(2):
            try:
                log.append(FEEDBACK, large)
            except Unavailable as error:
                refusals.append(error)

    before = resident_bytes()
    threads = [threading.Thread(target=insist) for _ in range(16)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, resident_bytes() - before)
        time.sleep(0.05)
    assert len(refusals) == 32
    assert all(error.retry_after > timedelta(0) for error in refusals if isinstance(error, EngineUnavailable))
    # 256 MiB were offered; a batch is held once by us and once as Kafka's bytes, so 512 MiB would be held without a bound
    assert most < 4 * MOST_WAITING_BYTES
    broker.start()
    assert until(lambda: passes(log.check))
    [(partition, offset)] = log.append(FEEDBACK, [Event(key="k", value=b"back")])
    with closing(log.consumer([FEEDBACK])) as consumer:
        consumer.seek({**log.ends(FEEDBACK), (FEEDBACK, partition): offset})
        assert [record.value for record in consumer.poll(timeout=timedelta(seconds=30))] == [b"back"]


def test_a_log_that_is_closed_during_an_append_leaves_nothing_behind_that_would_send_it_later(
    broker: Server, opened: Callable[[], EventLog]
) -> None:
    others, log = set(threading.enumerate()), opened()
    log.append(FEEDBACK, [Event(key="k", value=b"up")])
    before = log.ends(FEEDBACK)
    broker.kill()
    refusals: list[EngineUnavailable] = []

    def append() -> None:
        with pytest.raises(EngineUnavailable) as refused:
            log.append(FEEDBACK, [Event(key="k", value=b"never sent")])
        refusals.append(refused.value)

    appending = threading.Thread(target=append)
    appending.start()
    time.sleep(0.2)
    log.close()
    appending.join()
    assert len(refusals) == 1
    assert until(lambda: set(threading.enumerate()) <= others, 10)
    broker.start()
    time.sleep(WAIT.total_seconds())
    assert opened().ends(FEEDBACK) == before


def passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except EngineUnavailable:
        return False
    return True


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
