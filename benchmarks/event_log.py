"""How fast the embedded event log is, beside the least that durability costs: JSON lines in a file, synced once a batch.

    PYTHONPATH=. python benchmarks/event_log.py [--events 20000] [--size 300]

Both run in turn on the same folder's disk, in the same process, with the same events. The file has no partitions, groups,
offsets or retention; the distance between the two is what those cost.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from services.common.events import PREDICTIONS, Event, SqliteLog

BATCHES = (1, 10, 100, 1000)
MOST_COMMITS = 1000
"""Bounds the runs with small batches, where every commit waits for the disk."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=300, help="bytes of each value")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one by default")
    arguments = parser.parse_args()
    events = [
        Event(key=f"model-{number % 7}", value=os.urandom(arguments.size), headers={"ce_id": str(number), "ce_type": "p"})
        for number in range(arguments.events)
    ]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(f"{len(events)} events of {arguments.size} bytes; events per second, median of 3\n")
        print(f"{'':34}{'SQLite log':>12}{'JSON lines':>12}{'ratio':>8}")
        for batch in BATCHES:
            some = events[: batch * MOST_COMMITS]
            report(f"append, {batch} a commit", *(rate(append, Path(folder), some, batch) for append in (to_log, to_file)))
        threads = (rate(append, Path(folder), events[:4000], 1) for append in (to_log_from_threads, to_file_from_threads))
        report("append, 1 a call, 8 threads", *threads)
        report("consume", *(rate(consume, Path(folder), events, 500) for consume in (from_log, from_file)))


def report(what: str, log: float, file: float) -> None:
    """One line of the table."""
    print(f"{what:34}{log:12,.0f}{file:12,.0f}{log / file:8.2f}")


Step = Callable[[Path, Sequence[Event], int], float]


def rate(step: Step, folder: Path, events: Sequence[Event], batch: int) -> float:
    """Events per second, the median of three runs in fresh folders."""
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            seconds.append(step(Path(fresh), events, batch))
    return len(events) / sorted(seconds)[1]


def chunks(events: Sequence[Event], batch: int) -> Sequence[Sequence[Event]]:
    """The events in batches."""
    return [events[start : start + batch] for start in range(0, len(events), batch)]


def new_log(folder: Path) -> SqliteLog:
    """An empty log with Regrow's topics."""
    log = SqliteLog(folder / "events.db")
    log.ensure_topics()
    return log


def to_log(folder: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds to append all, batch by batch."""
    with closing(new_log(folder)) as log:
        began = time.perf_counter()
        for some in chunks(events, batch):
            log.append(PREDICTIONS, some)
        return time.perf_counter() - began


def to_file(folder: Path, events: Sequence[Event], batch: int) -> float:
    """The same into a file."""
    with (folder / "events.jsonl").open("ab") as file:
        began = time.perf_counter()
        for some in chunks(events, batch):
            write_lines(file.write, some)
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - began


def write_lines(write: Callable[[bytes], int], events: Sequence[Event]) -> None:
    """One JSON object a line."""
    for event in events:
        line = {"key": event.key, "value": base64.b64encode(event.value).decode(), "headers": dict(event.headers)}
        write(json.dumps(line).encode() + b"\n")


def to_log_from_threads(folder: Path, events: Sequence[Event], batch: int) -> float:
    """Eight callers, each waiting for its own commit, as in a gateway under load."""
    with closing(new_log(folder)) as log:
        return in_threads(lambda some: log.append(PREDICTIONS, some), chunks(events, batch))


def to_file_from_threads(folder: Path, events: Sequence[Event], batch: int) -> float:
    """The same into a file, under a lock."""
    turn = threading.Lock()
    with (folder / "events.jsonl").open("ab") as file:

        def write(some: Sequence[Event]) -> None:
            with turn:
                write_lines(file.write, some)
                file.flush()
                os.fsync(file.fileno())

        return in_threads(write, chunks(events, batch))


def in_threads(call: Callable[[Sequence[Event]], object], batches: Sequence[Sequence[Event]]) -> float:
    """Seconds until eight threads have made all calls."""

    def work(number: int) -> None:
        for some in batches[number::8]:
            call(some)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def from_log(folder: Path, events: Sequence[Event], batch: int) -> float:
    """Seconds for a group to read and commit all, batch by batch."""
    with closing(new_log(folder)) as log:
        for some in chunks(events, 1000):
            log.append(PREDICTIONS, some)
        with closing(log.consumer([PREDICTIONS], group="benchmark")) as consumer:
            began = time.perf_counter()
            read = 0
            while read < len(events):
                read += len(consumer.poll(timeout=timedelta(seconds=1), max_records=batch))
                consumer.commit()
            return time.perf_counter() - began


def from_file(folder: Path, events: Sequence[Event], batch: int) -> float:
    """The same from a file, whose place is kept in another one."""
    to_file(folder, events, 1000)
    with (folder / "events.jsonl").open("rb") as file, (folder / "place").open("wb") as place:
        began = time.perf_counter()
        for number, line in enumerate(file, start=1):
            found = json.loads(line)
            Event(key=found["key"], value=base64.b64decode(found["value"]), headers=found["headers"])
            if number % batch == 0:
                place.seek(0)
                place.write(b"%d" % number)
                place.flush()
                os.fsync(place.fileno())
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
