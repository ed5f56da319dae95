"""A store that goes away and comes back, as work sees it that waits for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from services.common.errors import AlreadyExists, Cancelled, DigestMismatch, EngineUnavailable, NotFound
from services.common.objects import DATASETS, DirectoryStore
from services.common.objects.patient import PatientStore

CONTENT = bytes(range(256)) * 40
AWAY, STARTING = "the store doesn't answer", "the store answers 503; it may be starting"


class Shaky(DirectoryStore):
    """A folder whose calls are refused as often as `refusals` say, and whose streams break off after a part."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.refusals: list[str] = []
        self.breaks_after = 0
        self.calls = 0

    def _may_refuse(self) -> None:
        self.calls += 1
        if self.refusals:
            raise EngineUnavailable("objects", self.refusals.pop(0))

    def put(self, *args: Any, **kw: Any) -> Any:
        self._may_refuse()
        return super().put(*args, **kw)

    def stat(self, bucket: str, key: str) -> Any:
        self._may_refuse()
        return super().stat(bucket, key)

    def get(self, bucket: str, key: str) -> bytes:
        self._may_refuse()
        return b"".join(super().read(bucket, key))

    def read(self, *args: Any, **kw: Any) -> Iterator[bytes]:
        self._may_refuse()
        return self._broken(super().read(*args, **kw))

    def _broken(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for number, part in enumerate(parts):
            if self.breaks_after and number == self.breaks_after:
                self.breaks_after, self.refusals = 0, [AWAY, AWAY]
                raise EngineUnavailable("objects", "the store breaks off its answers")
            yield part

    def open(self, bucket: str, key: str) -> BinaryIO:
        self._may_refuse()
        return _ShakyReader(self, super().open(bucket, key))  # type: ignore[return-value]


class _ShakyReader:
    def __init__(self, store: Shaky, source: BinaryIO) -> None:
        self._store, self._source = store, source
        self.seek = source.seek

    def read(self, length: int) -> bytes:
        self._store._may_refuse()
        return self._source.read(length)

    def close(self) -> None:
        self._source.close()


class Waits:
    """What a waiting store told, and how long it was told to wait; after `gives_up_after` pauses somebody cancels."""

    def __init__(self, gives_up_after: int = 1_000) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self._most = gives_up_after

    def tell(self, error: EngineUnavailable | None) -> None:
        self.told.append(error.problem if error else "")

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return len(self.pauses) > self._most


@pytest.fixture
def shaky(tmp_path: Path) -> Shaky:
    store = Shaky(tmp_path / "objects")
    store.put(DATASETS, "a", CONTENT)
    return store


def patient(store: Shaky, waits: Waits, patience: timedelta = timedelta(hours=1)) -> PatientStore:
    return PatientStore(store, patience=patience, told=waits.tell, pause=waits.pause)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda store: store.put(DATASETS, "b", b"new").size, 3),
        (lambda store: store.put_file(DATASETS, "c", Path(__file__)).key, "c"),
        (lambda store: store.get(DATASETS, "a"), CONTENT),
        (lambda store: b"".join(store.read(DATASETS, "a", offset=10, length=500, chunk=100)), CONTENT[10:510]),
        (lambda store: store.open(DATASETS, "a").read(), CONTENT),
        (lambda store: store.stat(DATASETS, "a").size, len(CONTENT)),
        (lambda store: store.exists(DATASETS, "nothing"), False),
        (lambda store: [one.key for one in store.list(DATASETS)], ["a"]),
    ],
)
def test_a_call_waits_until_the_store_is_back_and_says_what_for(
    shaky: Shaky, call: Callable[[PatientStore], object], answer: object
) -> None:
    waits = Waits()
    shaky.refusals = [AWAY, AWAY, STARTING]
    assert call(patient(shaky, waits)) == answer
    assert waits.told == [AWAY, STARTING, ""], "once per change, and when it is over"
    assert waits.pauses == sorted(waits.pauses) and len(waits.pauses) == 3


def test_a_store_that_answers_is_asked_once_and_nothing_is_told(shaky: Shaky) -> None:
    waits, before = Waits(), shaky.calls
    with pytest.raises(NotFound):
        patient(shaky, waits).get(DATASETS, "nothing")
    with pytest.raises(AlreadyExists):
        patient(shaky, waits).put(DATASETS, "a", b"", if_absent=True)
    assert (shaky.calls - before, waits.told, waits.pauses) == (2, [], [])


def test_a_stream_that_breaks_off_goes_on_where_it_was(shaky: Shaky) -> None:
    waits = Waits()
    shaky.breaks_after = 3
    assert b"".join(patient(shaky, waits).read(DATASETS, "a", chunk=1000)) == CONTENT
    assert waits.told[-1] == "" and len(waits.pauses) >= 2


def test_a_stream_that_went_on_still_ends_in_an_error_where_its_bytes_are_damaged(shaky: Shaky, tmp_path: Path) -> None:
    file = next(one for one in (tmp_path / "objects" / DATASETS).iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    shaky.breaks_after = 3
    with pytest.raises(DigestMismatch):
        b"".join(patient(shaky, Waits()).read(DATASETS, "a", chunk=1000))


def test_a_reader_goes_on_where_it_was(shaky: Shaky) -> None:
    waits = Waits()
    with patient(shaky, waits).open(DATASETS, "a") as reader:
        reader.seek(300)
        shaky.refusals = [AWAY, AWAY]
        assert reader.read(500) == CONTENT[300:800]
        assert reader.seek(-10, io.SEEK_END) == len(CONTENT) - 10
        assert reader.read() == CONTENT[-10:]
    assert waits.told == [AWAY, ""]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda store: store.delete(DATASETS, "a"), NotFound),
        (lambda store: store.put(DATASETS, "a", b"another" * 1000), EngineUnavailable),
    ],
    ids=["deleted", "replaced"],
)
def test_nobody_waits_for_an_object_that_is_gone_while_it_is_read(
    shaky: Shaky, change: Callable[[Shaky], object], told: type[Exception]
) -> None:
    waits = Waits()
    parts = patient(shaky, waits).read(DATASETS, "a", chunk=1000)
    next(parts)
    change(shaky)
    shaky.breaks_after = 1
    with pytest.raises(told):
        list(parts)
    assert len(waits.pauses) <= 2, "only until it can be told"


def test_patience_ends_and_the_refusal_is_the_answer(shaky: Shaky) -> None:
    waits = Waits()
    shaky.refusals = [AWAY] * 10
    with pytest.raises(EngineUnavailable, match="doesn't answer"):
        patient(shaky, waits, timedelta(0)).get(DATASETS, "a")
    assert waits.pauses == []


def test_one_that_is_cancelled_while_it_waits_ends(shaky: Shaky) -> None:
    waits = Waits(gives_up_after=2)
    shaky.refusals = [AWAY] * 10
    with pytest.raises(Cancelled):
        patient(shaky, waits).get(DATASETS, "a")
    assert len(waits.pauses) == 3
