"""Feedback through the gateway, beside a bare producer that writes the same records to the same log and checks nothing.

    python benchmarks/feedback_ingest.py [--events 20000] [--rounds 3] [--kafka HOST:PORT]

Each contender has one core, the client and the broker share the other, and they take turns, so a busy machine treats them
alike. The gateway authenticates, checks every piece against the model's spec, gives what the log needs, and answers when all
is committed. The bare producer is kafka-python with records that are ready: the same keys, values and headers. Both have the
same kafka-python with the same acks=all, idempotence, batch size, linger (none), compression (none) and checksums in C. The
bare one is measured twice: as applications use it, which places each record by its key, and told the partition, as the
gateway tells it after it has placed a key once. On the embedded log, the bare one is `SqliteLog.append`. Needs the folder of
engines, or a broker.

CPU time of the contender's process is the steadier figure: events a second of one whole core are 1 s / CPU per event. The
verdict takes the worse of the two.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import structlog

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "gateway")]

from gateway_world import World  # noqa: E402 (the tests' registry and their tiny real bundle)
from real_engines import kafka_server, running  # noqa: E402

from regrow.gateway.v1 import gateway_pb2, gateway_pb2_grpc  # noqa: E402
from services.common.events import FEEDBACK, events_from  # noqa: E402
from services.common.events.port import Record  # noqa: E402

PIECES = 500
TICKS = os.sysconf("SC_CLK_TCK")
CORE, OTHERS = {0}, {1} if (os.cpu_count() or 1) > 1 else {0}
TARGET = 0.8
BASE, STREAM = "bare producer", "gateway, gRPC stream"
_SOON = timedelta(seconds=2)

BARE = """
import json, os, pickle, sys, time
os.sched_setaffinity(0, {core})
with open(sys.argv[1], "rb") as file:
    events = pickle.load(file)
{open}
def main():
    for line in sys.stdin:
        count = int(line)
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, count, {pieces}):
            append(events[start : min(start + {pieces}, count)])
        finish()
        print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]), flush=True)
main()
"""
KAFKA = """
from kafka import KafkaProducer
producer = KafkaProducer(bootstrap_servers=sys.argv[2], acks="all", enable_idempotence=True, batch_size=512 << 10)
partition = int(sys.argv[4]) if len(sys.argv) > 4 else None
sent = []
def append(batch):
    for key, value, headers in batch:
        sent.append(producer.send(sys.argv[3], value, key=key, headers=headers, partition=partition))
def finish():
    producer.flush()
    for one in sent:
        one.get(timeout=30)
    sent.clear()
"""
SQLITE = """
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from services.common.events import FEEDBACK, Event, SqliteLog
log = SqliteLog(Path(sys.argv[2]))
log.ensure_topics()
events = [Event(key=key.decode(), value=value, headers={name: one.decode() for name, one in headers}) for key, value, headers in events]
def append(batch):
    log.append(FEEDBACK, batch)
def finish():
    pass
"""  # noqa: E501 (a program of its own)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a number of events took, in seconds."""

    wall: float
    cpu: float


Contender = Callable[[int], Taken]


class Gateway:
    """A gateway process on its core, and the ways into it."""

    def __init__(self, model: str, stack: ExitStack, environment: dict[str, str]) -> None:
        self.model = model
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        reset = [sys.executable, "-m", "services.gateway", "keys", "reset"]
        key = subprocess.run(reset, env=environment, capture_output=True, text=True, check=True).stdout.split()[-1]
        on_core = ["taskset", "-c", ",".join(map(str, CORE)), sys.executable, "-m", "services.gateway"]
        self._process = subprocess.Popen(on_core, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(self._end)
        self._metadata = (("authorization", f"Bearer {key}"),)
        channel = stack.enter_context(grpc.insecure_channel(environment["REGROW_GATEWAY_GRPC_ADDRESS"]))
        grpc.channel_ready_future(channel).result(60)
        self._stub: Any = gateway_pb2_grpc.FeedbackServiceStub(channel)
        url, headers = f"http://{environment['REGROW_GATEWAY_HTTP_ADDRESS']}", {"authorization": f"Bearer {key}"}
        self._http = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=120))

    def stream(self, count: int) -> Taken:
        """gRPC, one message for each part."""
        requests = [gateway_pb2.StreamFeedbackRequest(parent=self.model, feedback=part) for part in parts(count)]

        def send() -> None:
            *_, last = self._stub.StreamFeedback(iter(requests), metadata=self._metadata, timeout=120)
            assert last.committed_count == count

        return self._measured(send)

    def batches(self, count: int) -> Taken:
        """gRPC, a call for each part, four at a time."""
        requests = [gateway_pb2.BatchSendFeedbackRequest(parent=self.model, feedback=part) for part in parts(count)]

        def send() -> None:
            with ThreadPoolExecutor(4) as pool:
                answers = pool.map(
                    lambda one: self._stub.BatchSendFeedback(one, metadata=self._metadata, timeout=120), requests
                )
                assert sum(len(answer.event_ids) for answer in answers) == count

        return self._measured(send)

    def csv(self, count: int) -> Taken:
        """REST, one file."""
        lines = [
            f"{one.event_id},{one.prediction_id},{one.class_names[0]},{one.source}\n" for part in parts(count) for one in part
        ]
        return self._file("text/csv", "event_id,prediction_id,class,source\n" + "".join(lines), count)

    def json_lines(self, count: int) -> Taken:
        """REST, one file."""
        return self._file(
            "application/x-ndjson", "".join(json.dumps(as_json(one)) + "\n" for p in parts(count) for one in p), count
        )

    def json_batches(self, count: int) -> Taken:
        """REST, a call for each part, one after the other."""
        bodies = [json.dumps({"feedback": [as_json(one) for one in part]}) for part in parts(count)]

        def send() -> None:
            for body in bodies:
                assert self._http.post(f"/v1/{self.model}/feedback:batch", content=body).status_code == 200

        return self._measured(send)

    def _file(self, kind: str, content: str, count: int) -> Taken:
        body = content.encode()

        def send() -> None:
            answer = self._http.post(f"/v1/{self.model}/feedback:stream", content=body, headers={"content-type": kind})
            assert answer.json()["committedCount"] == str(count), answer.text[:300]

        return self._measured(send)

    def _measured(self, send: Callable[[], None]) -> Taken:
        began, cpu = time.perf_counter(), cpu_seconds(self._process.pid)
        send()
        return Taken(time.perf_counter() - began, cpu_seconds(self._process.pid) - cpu)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def parts(count: int) -> Iterator[list[gateway_pb2.Feedback]]:
    """Feedback as apps send it: an id of their own, the prediction's id, the class, who says so."""
    run = secrets.token_hex(4)
    for start in range(0, count, PIECES):
        yield [
            gateway_pb2.Feedback(
                event_id=f"{run}-{number}", prediction_id=f"019ab{number:027x}", class_names=["ham" if number % 3 else "spam"],
                source="web shop",
            )
            for number in range(start, min(start + PIECES, count))
        ]  # fmt: skip


def as_json(one: gateway_pb2.Feedback) -> dict[str, Any]:
    """A piece as REST takes it."""
    return {
        "eventId": one.event_id, "predictionId": one.prediction_id, "classNames": list(one.class_names), "source": one.source,
    }  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def records_of(settings: Any) -> list[Record]:
    """What the gateway wrote to the log."""
    with closing(events_from(settings)) as log, closing(log.consumer([FEEDBACK])) as consumer:
        found: list[Record] = []
        while records := consumer.poll(timeout=_SOON, max_records=5_000):
            found += records
    return found


@contextmanager
def bare(events: Path, opening: str, *arguments: str) -> Iterator[Contender]:
    """A process on the contenders' core that only appends."""
    program = BARE.format(core=CORE, open=opening, pieces=PIECES)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(events), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    writing, reading = process.stdin, process.stdout

    def run(count: int) -> Taken:
        writing.write(f"{count}\n")
        writing.flush()
        wall, cpu = json.loads(reading.readline())
        return Taken(wall, cpu)

    try:
        yield run
    finally:
        process.terminate()
        process.wait(30)


def compared(contenders: dict[str, Contender], count: int, rounds: int) -> dict[str, list[Taken]]:
    """What each took, in turns; a first turn warms up and isn't kept."""
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, contender in contenders.items():
            one = contender(count if turn else max(PIECES, count // 10))
            if turn:
                taken[name].append(one)
    return taken


def report(title: str, taken: dict[str, list[Taken]], count: int) -> tuple[float, float]:
    """Prints the table; answers the stream's share of the bare one, by wall clock and by CPU. All are medians of the turns."""
    base, shares = taken[BASE], (0.0, 0.0)
    print(f"\n{title}: {count:,} events a turn, {PIECES} a part, one core each\n")
    print(f"{'':34} {'events/s':>10} {'CPU us/event':>13} {'of the bare one: by wall':>26} {'by CPU':>8}")
    for name, turns in taken.items():
        wall, cpu = (statistics.median(getattr(one, kind) for one in turns) for kind in ("wall", "cpu"))
        by_wall = statistics.median(bare.wall / one.wall for bare, one in zip(base, turns, strict=True))
        by_cpu = statistics.median(bare.cpu / one.cpu for bare, one in zip(base, turns, strict=True))
        print(f"{name:34} {count / wall:10,.0f} {1e6 * cpu / count:13.1f} {by_wall:26.0%} {by_cpu:8.0%}")
        if name == STREAM:
            shares = by_wall, by_cpu
    return shares


def measure(
    title: str, world: World, model: str, programs: dict[str, tuple[str, ...]], changes: dict[str, str], asked: Any
) -> tuple[float, float]:
    """One log: the gateway writes to it first, and what it wrote is what the bare one writes again."""
    with ExitStack() as stack:
        environment = (
            world.environment(gateway_http_address="127.0.0.1:18981", gateway_grpc_address="127.0.0.1:18982") | changes
        )
        gateway = Gateway(model, stack, environment)
        gateway.stream(asked.events)
        settings = world.settings(**{name.removeprefix("REGROW_").lower(): value for name, value in changes.items()})
        records = records_of(settings)[: asked.events]
        events = [
            (record.key.encode(), record.value, [(name, value.encode()) for name, value in record.headers.items()])
            for record in records
        ]
        assert len(events) == asked.events
        file = world.data_dir / "events.pickle"
        file.write_bytes(pickle.dumps(events))
        contenders: dict[str, Contender] = {
            name: stack.enter_context(bare(file, opening, *(one.format(partition=records[0].partition) for one in where)))
            for name, (opening, *where) in programs.items()
        }
        contenders |= {
            STREAM: gateway.stream, "gateway, gRPC batches": gateway.batches,
            "gateway, CSV file": gateway.csv, "gateway, JSON lines": gateway.json_lines,
            "gateway, JSON batches": gateway.json_batches,
        }  # fmt: skip
        return report(title, compared(contenders, asked.events, asked.rounds), asked.events)


def main() -> int:
    """Prints both tables; fails where the stream on Kafka is slower than the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", default="", help="a broker that is there; else one is started from the folder of engines")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.sched_setaffinity(0, OTHERS)  # the broker, the registry and the client inherit it
        world = World(Path(folder))
        stack.callback(world.stop)
        model = world.champion("ingest")
        raw = Path(folder) / "bare.db"
        embedded = {BASE: (SQLITE, str(raw), str(ROOT))}
        measure("Embedded log (SQLite)", world, model, embedded, {}, asked)
        broker = Path(folder) / "kafka"
        broker.mkdir()
        address = asked.kafka or stack.enter_context(running(kafka_server(broker))).address
        prefix = f"ingest-{secrets.token_hex(3)}."
        changes = {"REGROW_KAFKA_BOOTSTRAP": address, "REGROW_KAFKA_TOPIC_PREFIX": prefix}
        topic = f"{prefix}{FEEDBACK}"
        programs = {BASE: (KAFKA, address, topic), f"{BASE}, told the partition": (KAFKA, address, topic, "{partition}")}
        by_wall, by_cpu = measure("Kafka, acks=all", world, model, programs, changes, asked)
        passed = min(by_wall, by_cpu) >= TARGET
        print(f"\n{'PASS' if passed else 'FAIL'}: the gateway's stream on Kafka reaches {by_wall:.0%} of the bare producer by "
              f"wall clock, {by_cpu:.0%} by CPU, on one core; wanted: {TARGET:.0%}.")  # fmt: skip
        return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
