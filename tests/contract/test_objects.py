"""What every object store promises."""

from __future__ import annotations

import hashlib
import io
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import AlreadyExists, InvalidField, NotFound
from services.common.objects import DATASETS, MODELS, ObjectStore

MIB = 1 << 20


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("content", [b"", b"\x00", b"text\n", bytes(range(256)) * 12_000], ids=["empty", "nul", "text", "3MB"])
def test_what_was_put_comes_back_with_its_size_and_digest(store: ObjectStore, content: bytes) -> None:
    put = store.put(DATASETS, "p/d/one.parquet", content)
    assert store.get(DATASETS, "p/d/one.parquet") == content
    assert (put.size, put.digest) == (len(content), sha256(content))
    assert store.stat(DATASETS, "p/d/one.parquet") == put
    assert abs(datetime.now(UTC) - put.modified) < timedelta(minutes=1)


def test_bytes_a_file_an_iterable_and_a_path_store_the_same_object(store: ObjectStore, tmp_path: Path) -> None:
    content = b"line\n" * 500_000
    (tmp_path / "local").write_bytes(content)
    digests = {
        store.put(DATASETS, "bytes", content).digest,
        store.put(DATASETS, "file", io.BytesIO(content)).digest,
        store.put(DATASETS, "iterable", (content[at : at + 999_983] for at in range(0, len(content), 999_983))).digest,
        store.put_file(DATASETS, "path", tmp_path / "local").digest,
    }
    assert digests == {sha256(content)}
    assert all(store.get(DATASETS, key) == content for key in ("bytes", "file", "iterable", "path"))


def test_a_later_put_replaces_the_object_whole(store: ObjectStore) -> None:
    store.put(DATASETS, "a", b"a long first content")
    store.put(DATASETS, "a", b"short")
    assert store.get(DATASETS, "a") == b"short"
    assert store.stat(DATASETS, "a").digest == sha256(b"short")


def test_a_second_writer_of_the_same_key_loses_where_absence_is_asked_for(store: ObjectStore) -> None:
    store.put(MODELS, "sha256/ab", b"first", if_absent=True)
    with pytest.raises(AlreadyExists, match="sha256/ab"):
        store.put(MODELS, "sha256/ab", b"second", if_absent=True)
    assert store.get(MODELS, "sha256/ab") == b"first"


def test_of_many_racing_threads_exactly_one_wins(store: ObjectStore) -> None:
    start, winners = threading.Barrier(8), []

    def write(number: int) -> None:
        def content() -> Iterator[bytes]:  # all are past any early look at the key before the first one ends
            yield b"%d" % number
            start.wait(timeout=10)

        try:
            store.put(DATASETS, "prize", content(), if_absent=True)
            winners.append(number)
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert store.get(DATASETS, "prize") == b"%d" % winners[0]


RACER = """
from services.common.errors import AlreadyExists
print("ready", flush=True)
for line in sys.stdin:
    try:
        engine.put("regrow-datasets", line.strip(), sys.argv[1].encode(), if_absent=True)
        print("won", flush=True)
    except AlreadyExists:
        print("lost", flush=True)
"""


@pytest.mark.slow
def test_of_racing_processes_exactly_one_wins_each_key(store_engine: Any, store: ObjectStore) -> None:
    racers = [store_engine.child(RACER, f"racer {number}") for number in range(3)]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
    for number in range(20):
        for racer in racers:
            racer.stdin.write(f"prize/{number}\n")
    for racer in racers:
        racer.stdin.flush()
    results = [[racer.stdout.readline().strip() for _ in range(20)] for racer in racers]
    for number, outcome in enumerate(zip(*results, strict=True)):
        assert sorted(outcome) == ["lost", "lost", "won"]
        assert store.get(DATASETS, f"prize/{number}") == b"racer %d" % outcome.index("won")


def test_readers_see_the_old_or_the_new_object_and_nothing_between(store: ObjectStore) -> None:
    versions = [bytes([65 + n]) * (MIB + n) for n in range(4)]
    store.put(DATASETS, "moving", versions[0])
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(store.get(DATASETS, "moving"))

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(24):
        store.put(DATASETS, "moving", versions[round_ % 4])
    done.set()
    reader.join()
    assert seen <= set(versions)
    assert seen


def test_a_reader_keeps_its_bytes_while_the_object_is_replaced_and_deleted(store: ObjectStore) -> None:
    store.put(DATASETS, "a", b"old" * MIB)
    stream = store.read(DATASETS, "a", chunk=MIB)
    first = next(stream)
    store.put(DATASETS, "a", b"new" * MIB)
    store.delete(DATASETS, "a")
    assert first + b"".join(stream) == b"old" * MIB


def test_an_error_of_the_source_leaves_what_was_there(store: ObjectStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the client went away")

    store.put(DATASETS, "kept", b"before")
    for key in ("kept", "never"):
        with pytest.raises(RuntimeError, match="went away"):
            store.put(DATASETS, key, broken())
    assert store.get(DATASETS, "kept") == b"before"
    assert [info.key for info in store.list(DATASETS)] == ["kept"]


HALF_WRITER = """
def slow():
    for _ in range(1000):
        yield b"x" * 65536
        print("wrote", flush=True)
engine.put("regrow-datasets", sys.argv[1], slow())
"""


@pytest.mark.slow
def test_a_writer_killed_half_way_leaves_nothing_to_see(store_engine: Any, store: ObjectStore) -> None:
    store.put(DATASETS, "kept", b"before")
    for key in ("kept", "never"):
        writer = store_engine.child(HALF_WRITER, key)
        for _ in range(3):
            assert writer.stdout.readline() == "wrote\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    again = store_engine.open()
    assert again.get(DATASETS, "kept") == b"before"
    assert [info.key for info in again.list(DATASETS)] == ["kept"]


STEADY_WRITER = """
import itertools
for number in itertools.count():
    info = engine.put("regrow-datasets", f"n/{number}", b"%d" % number * 3000)
    print(info.key, info.digest, flush=True)
"""


def test_what_a_killed_writer_was_told_is_stored_is_stored(store_engine: Any, store: ObjectStore) -> None:
    writer = store_engine.child(STEADY_WRITER)
    lines = [writer.stdout.readline() for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    lines += writer.stdout.read().splitlines(keepends=True)
    acknowledged = dict(line.split() for line in lines if line.endswith("\n"))
    stored = {info.key: info.digest for info in store.list(DATASETS, "n/")}
    assert acknowledged.items() <= stored.items()
    assert len(stored) - len(acknowledged) <= 1
    assert all(sha256(store.get(DATASETS, key)) == digest for key, digest in stored.items())


def test_a_stream_gives_the_asked_range_in_pieces(store: ObjectStore) -> None:
    store.put(DATASETS, "digits", b"0123456789")
    assert list(store.read(DATASETS, "digits", chunk=4)) == [b"0123", b"4567", b"89"]
    assert b"".join(store.read(DATASETS, "digits", offset=3, length=4, chunk=3)) == b"3456"
    assert b"".join(store.read(DATASETS, "digits", offset=8, length=100)) == b"89"
    assert b"".join(store.read(DATASETS, "digits", length=0)) == b""
    assert b"".join(store.read(DATASETS, "digits", offset=50)) == b""


def test_an_opened_object_can_be_sought(store: ObjectStore) -> None:
    store.put(DATASETS, "digits", b"0123456789")
    with store.open(DATASETS, "digits") as file:
        assert file.seek(-3, io.SEEK_END) == 7
        assert file.read() == b"789"
        assert (file.seek(2), file.read(2), file.tell()) == (2, b"23", 4)
        assert file.seek(99) == 99
        assert file.read() == b""
    assert file.closed


def test_what_is_not_there_is_told_at_the_call(store: ObjectStore) -> None:
    for call in (store.get, store.read, store.open, store.stat):
        with pytest.raises(NotFound, match="regrow-datasets/no/such"):
            call(DATASETS, "no/such")
    assert not store.exists(DATASETS, "no/such")
    store.delete(DATASETS, "no/such")
    assert list(store.list(DATASETS)) == []


def test_a_deleted_object_is_gone_and_its_key_is_free(store: ObjectStore) -> None:
    store.put(DATASETS, "a/b", b"1")
    store.delete(DATASETS, "a/b")
    assert not store.exists(DATASETS, "a/b")
    assert list(store.list(DATASETS)) == []
    assert store.put(DATASETS, "a/b", b"2", if_absent=True).size == 1


def test_a_listing_is_in_order_of_key_and_a_prefix_may_end_inside_a_name(store: ObjectStore) -> None:
    keys = ["a", "a-b", "a.b", "a/b", "a/b/c", "a/c-1", "a/c", "a0", "A", "aa/x", "a/bb", "b=1/_x"]
    for key in keys:
        store.put(DATASETS, key, key.encode())
    store.put(MODELS, "a/elsewhere", b"")
    assert [info.key for info in store.list(DATASETS)] == sorted(keys)
    for prefix in ("a", "a/", "a/b", "a/b/", "a/c", "b", "zz", "a/b/c/d"):
        assert [info.key for info in store.list(DATASETS, prefix)] == sorted(key for key in keys if key.startswith(prefix))
    assert next(iter(store.list(DATASETS, "a/b/c"))) == store.stat(DATASETS, "a/b/c")


BAD_KEYS = ["", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", "./a", "a b", "a\\b", "a\x00", "a\n", "ключ", "😀", "a@"]


@pytest.mark.parametrize("key", [*BAD_KEYS, "a" * 201, "a/" * 600 + "a"])
def test_a_key_that_is_no_key_is_refused_by_every_call(store: ObjectStore, key: str) -> None:
    calls = [store.get, store.read, store.open, store.stat, store.exists, store.delete, lambda b, k: store.put(b, k, b"")]
    for call in calls:
        with pytest.raises(InvalidField, match="key"):
            call(DATASETS, key)


@pytest.mark.parametrize("bucket", ["", "..", "a/b", "Upper", ".incoming", "x", "-ab", "a" * 64])
def test_a_bucket_that_is_no_bucket_is_refused(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(InvalidField, match="bucket"):
        store.put(bucket, "a", b"")
    with pytest.raises(InvalidField, match="bucket"):
        store.list(bucket)


@pytest.mark.parametrize("prefix", ["../", "/", "a//b", "*", "a\x00", "x/../y"])
def test_a_prefix_that_no_key_can_have_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(InvalidField):
        store.list(DATASETS, prefix)


def test_a_negative_range_is_refused(store: ObjectStore) -> None:
    store.put(DATASETS, "a", b"1")
    for wrong in ({"offset": -1}, {"length": -1}, {"chunk": 0}):
        with pytest.raises(InvalidField, match=next(iter(wrong))):
            store.read(DATASETS, "a", **wrong)


def test_a_usable_store_passes_its_check(store: ObjectStore) -> None:
    store.check()
    assert list(store.list(DATASETS)) == []
