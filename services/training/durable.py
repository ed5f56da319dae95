"""Durable work: DBOS workflows that go on where they were after a crash.

A workflow's steps are done at least once, so each is idempotent. Its id is the name of the run or regrowth: starting it twice
starts it once. The application version is fixed, else an upgrade of Regrow would strand the work of the version before. A stop
of the service is a crash that was announced: work that isn't done is left as it is, and the next start takes it up.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

from services.common.errors import EngineUnavailable, Unavailable
from services.training.waiting import waited_for

T = TypeVar("T")

RUNS, REGROWTHS, BATCH_PREDICTIONS = "runs", "regrowths", "batch_predictions"
EXPRESS, STANDARD = 1, 10
"""Priorities: the smaller number is first, equal ones are in order of submission."""

_REGROWTHS_AT_ONCE = 8
_POLL_SECONDS = 0.2
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LONGEST_PAUSE = 5.0
_OVER = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

log = structlog.get_logger()


class Interrupted(BaseException):
    """The service stops in the middle of a workflow. No `Exception`: nobody may take it for an outcome and record it."""


class Durable:
    """The one DBOS of this process. Register the workflows, then `start`. Safe for many threads."""

    def __init__(
        self,
        *,
        database_url: str,
        executor: str,
        concurrent_runs: int,
        concurrent_batches: int = 1,
        patience: timedelta,
    ) -> None:
        config: DBOSConfig = {
            "name": "regrow-training",
            "system_database_url": database_url,
            "application_version": "regrow-1",
            "executor_id": executor,
            "serializer": DBOSPortableJSONSerializer(),
            "console_log_level": "ERROR",
            "log_level": "ERROR",
            "notification_listener_polling_interval_sec": _POLL_SECONDS,
        }
        DBOS(config=config)
        _log_as_we_do()
        self.patience = patience
        self._at_once = {RUNS: concurrent_runs, REGROWTHS: _REGROWTHS_AT_ONCE, BATCH_PREDICTIONS: concurrent_batches}
        self._workflows: dict[str, Callable[[str], Any]] = {}
        self._started, self._stopping = threading.Event(), threading.Event()
        self._running = 0
        self._changed = threading.Condition()

    @property
    def stopping(self) -> bool:
        """Whether the service stops: work ends without an outcome."""
        return self._stopping.is_set()

    def workflow(self, kind: str, body: Callable[[str], None]) -> None:
        """`body(name)` runs the steps of one `kind` (`RUNS`, `REGROWTHS`, `BATCH_PREDICTIONS`)."""

        def run(name: str) -> None:
            with self._at_work():
                body(name)

        # Attempts are bounded by the run itself, which then says so; DBOS would leave it unfinished without a word.
        self._workflows[kind] = DBOS.workflow(name=f"training.{kind}", max_recovery_attempts=None)(run)

    def start(self) -> None:
        """Takes up what an earlier process left, then new work."""
        DBOS.launch()
        for kind, at_once in self._at_once.items():
            DBOS.register_queue(kind, worker_concurrency=at_once, polling_interval_sec=_POLL_SECONDS)
        self._started.set()

    def submit(self, kind: str, name: str, *, express: bool = False) -> bool:
        """Queues a workflow, once, however often it is asked to. False where it is over."""
        if not self._started.wait(_START_SECONDS):
            raise EngineUnavailable("The queue of the training service", "it is still starting")
        # In a context of its own: called from a step of another workflow, DBOS would make it a part of that one.
        status: str = contextvars.Context().run(self._enqueue, kind, name, EXPRESS if express else STANDARD)
        return status not in _OVER

    def _enqueue(self, kind: str, name: str, priority: int) -> str:
        with SetWorkflowID(name), SetEnqueueOptions(priority=priority):
            return str(DBOS.enqueue_workflow(kind, self._workflows[kind], name).get_status().status)

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """Does a step of the workflow that runs in this thread, or answers what it gave before the crash. All plain data."""
        self.pause(0)
        return DBOS.run_step({"name": name}, work)

    def pause(self, seconds: float) -> None:
        """Waits within a step. Raises `Interrupted` where the service stops."""
        if self._stopping.wait(seconds):
            raise Interrupted

    def patiently(self, ask: Callable[[], T], told: Callable[[str], None] | None = None) -> T:
        """Asks again and again while an engine or a service is away, as long as patience goes.

        `told` hears what is waited for, each time that it changes, and "" when that is over.
        """
        deadline, pause, said = time.monotonic() + self.patience.total_seconds(), 0.2, ""
        while True:
            try:
                answer = ask()
            except Unavailable as error:
                if time.monotonic() + pause > deadline:
                    raise
                log.warning("waiting", problem=error.message)
                if told is not None and waited_for(error) != said:
                    said = waited_for(error)
                    told(said)
            else:
                if told is not None and said:
                    told("")
                return answer
            self.pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        """Interrupts what runs and takes no more; the next start goes on."""
        self._stopping.set()
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, _STOP_SECONDS)
        DBOS.destroy(destroy_registry=True)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._changed:
            self._running += 1
        try:
            self.pause(0)
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()


def durable_database(database_url: str, data_dir: Path) -> str:
    """Where DBOS keeps its tables: beside training's own database on SQLite, in the same one on PostgreSQL."""
    return f"sqlite:///{data_dir.absolute() / 'training-work.db'}" if database_url.startswith("sqlite") else database_url


def _log_as_we_do() -> None:
    """DBOS writes to a handler of its own; its lines take the shape of the service's."""
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
