"""How many may watch runs at once, and what becomes of watchers."""

import threading
from collections.abc import Iterator

import pytest

from services.common.database import Database
from services.common.errors import Busy, EngineUnavailable
from services.training.designs import Schedule
from services.training.peers import Labeling, Registry
from services.training.runs import storage
from services.training.runs.handlers import Runs, Signal
from services.training.runs.rules import NewRun, RunEvent

RUN = "projects/p/runs/r"


@pytest.fixture
def signal(database: Database) -> Signal:
    new = NewRun(
        name=RUN, project="p", label_set="l", model="m", problem_spec="s", dataset_version="v", template="brew",
        schedule=Schedule(), seed=1, express=False, origin={},
    )  # fmt: skip
    with database.session() as session:
        storage.add_run(session, new)
    return Signal()


@pytest.fixture
def runs(database: Database, signal: Signal) -> Runs:
    nobody = object.__new__(Labeling), object.__new__(Registry)
    return Runs(database, *nobody, lambda name, express: None, signal, checkpoints=None, watchers=1)


def watch(runs: Runs) -> Iterator[RunEvent]:
    return runs.watch(RUN, 0, lambda: True)


def test_one_watcher_too_many_is_told_to_come_back_and_then_may(runs: Runs) -> None:
    first = watch(runs)
    next(first)
    with pytest.raises(Busy):
        next(watch(runs))
    first.close()  # type: ignore[attr-defined]
    assert next(watch(runs)).sequence == 1


def test_a_watcher_that_has_gone_is_not_waited_for(runs: Runs) -> None:
    answers = iter([True, True, False])
    assert [event.sequence for event in runs.watch(RUN, 0, lambda: next(answers))] == [1]


def test_a_watcher_hears_of_an_event_at_once_and_of_the_end(runs: Runs, database: Database, signal: Signal) -> None:
    seen: list[int] = []
    waiting = threading.Event()

    def follow() -> None:
        for event in watch(runs):
            seen.append(event.sequence)
            waiting.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert waiting.wait(5)
    with database.session() as session:
        storage.add_event(session, RUN, {"type": "log", "message": "so far so good"})
        storage.fail(session, RUN, "no")
    signal.notify()
    thread.join(5)
    assert seen == [1, 2, 3, 4]


def test_watching_ends_with_unavailable_when_the_service_stops(runs: Runs, signal: Signal) -> None:
    watcher = watch(runs)
    next(watcher)
    signal.close()
    with pytest.raises(EngineUnavailable):
        next(watcher)
