"""The use cases of runs: submit, read, cancel, watch. A run is in the database before it is in the queue."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.common.database import Database
from services.common.errors import Busy, EngineUnavailable, InvalidField
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.names import check_id, parse
from services.training.designs import Schedule, Text
from services.training.peers import Labeling, Registry
from services.training.representations.checkpoints import checkpoint_folder
from services.training.runs import storage
from services.training.runs.rules import LABEL_SET, MODEL, RUN, NewRun, Run, RunEvent
from services.training.schedules import problems_of
from services.training.tables import IdempotencyKey

_FALLBACK_SECONDS = 1.0
_WATCHERS = 16
_COME_BACK = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller asks for. `run_id` empty: one is made. `fingerprint` tells whether a repeated request_id asks the same."""

    parent: str
    run_id: str
    label_set: str
    model: str
    schedule: Schedule
    template: str
    seed: int
    express: bool
    request_id: str = ""
    fingerprint: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


class Signal:
    """Wakes watchers in this process when a run has something new."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self.closed = False

    def notify(self) -> None:
        """Something happened to some run."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all watching: the service drains."""
        self.closed = True
        self.notify()

    def wait(self, seen: int) -> int:
        """Returns at the next change after `seen`, or after a second; answers the count then."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, _FALLBACK_SECONDS)
            return self._count


class Runs:
    """Runs of this service. Safe for many threads. `submit` puts a run in the durable queue, once per name."""

    def __init__(
        self,
        database: Database,
        labeling: Labeling,
        registry: Registry,
        submit: Callable[[str, bool], object],
        signal: Signal,
        *,
        checkpoints: Path | None,
        watchers: int = _WATCHERS,
    ) -> None:
        self._database, self._labeling, self._registry = database, labeling, registry
        self._submit, self._signal, self._checkpoints = submit, signal, checkpoints
        self._watchers = threading.BoundedSemaphore(watchers)

    def create(self, asked: Submission) -> Run:
        """Checks it against the spec, keeps it, queues it. Raises `NotFound`, `InvalidField(s)`, `AlreadyExists`."""
        run = self._earlier(asked) or self._kept(asked)
        if not run.state.ended:
            self._submit(run.name, run.express)
        self._signal.notify()
        return run

    def _earlier(self, asked: Submission) -> Run | None:
        """The run of an earlier call with this request_id. It may not be queued yet: that call may have died in between."""
        with self._database.session() as session:
            name = recall(session, IdempotencyKey, **_once(asked))
            return storage.get_run(session, name) if name else None

    def _kept(self, asked: Submission) -> Run:
        new = self._checked(asked)
        self._registry.ensure_model(new.model)
        with self._database.session() as session:
            if name := recall(session, IdempotencyKey, **_once(asked)):
                return storage.get_run(session, name)
            run = storage.add_run(session, new)
            remember(session, IdempotencyKey, **_once(asked), result=run.name)
            return run

    def _checked(self, asked: Submission) -> NewRun:
        project = parse("projects/{project}", asked.parent, "parent")["project"]
        if parse(LABEL_SET, asked.label_set, "run.label_set")["project"] != project:
            raise InvalidField("run.label_set", f"is of another project than '{asked.parent}'.")
        model = parse(MODEL, asked.model, "run.model")
        if model["project"] != project:
            raise InvalidField("run.model", f"is of another project than '{asked.parent}'.")
        check_id(model["model"], "run.model")
        if asked.schedule.design.text is Text.CHECKPOINT:
            checkpoint_folder(asked.schedule.design.checkpoint, self._checkpoints)
        label_set = self._labeling.label_set(asked.label_set)
        problems = problems_of(asked.schedule, self._labeling.spec(label_set.problem_spec))
        if problems:
            raise InvalidField("run.schedule.design", problems[0])
        run_id = check_id(asked.run_id, "run_id") if asked.run_id else f"r-{int(time.time()):x}-{secrets.token_hex(3)}"
        return NewRun(
            name=f"{asked.parent}/runs/{run_id}", project=project, label_set=asked.label_set, model=asked.model,
            problem_spec=label_set.problem_spec, dataset_version=label_set.dataset_version, template=asked.template,
            schedule=asked.schedule, seed=asked.seed, express=asked.express, origin=asked.origin,
        )  # fmt: skip

    def get(self, name: str) -> Run:
        """Raises `NotFound`."""
        parse(RUN, name)
        with self._database.reading() as session:
            return storage.get_run(session, name)

    def list_runs(self, parent: str, ask: Asked, *, label_set: str = "", model: str = "") -> tuple[list[Run], str]:
        """A page and the token of the next: newest first or, with a label set, its leaderboard."""
        project = parse("projects/{project}", parent, "parent")["project"]
        with self._database.reading() as session:
            if label_set:
                return storage.leaderboard(session, project, ask, label_set=label_set, model=model)
            return storage.newest(session, project, ask, model=model)

    def cancel(self, name: str) -> Run:
        """A queued run ends at once, a running one within seconds, an ended one stays as it is. Raises `NotFound`."""
        parse(RUN, name)
        with self._database.session() as session:
            run = storage.ask_to_cancel(session, name)
        self._signal.notify()
        return run

    def watch(self, name: str, after: int, alive: Callable[[], bool]) -> Iterator[RunEvent]:
        """Events after a sequence number, those of the past first, until the run ends or the watcher has gone.

        Raises `NotFound`; `Busy` where too many watch, `EngineUnavailable` where the service stops: come back with the last
        sequence number.
        """
        self.get(name)
        if not self._watchers.acquire(blocking=False):
            raise Busy("Too many calls watch runs at once. Come back in a moment, or ask GetRun.", retry_after=_COME_BACK)
        try:
            yield from self._watched(name, after, alive)
        finally:
            self._watchers.release()

    def _watched(self, name: str, after: int, alive: Callable[[], bool]) -> Iterator[RunEvent]:
        seen = 0
        while alive():
            with self._database.reading() as session:
                ended = storage.get_run(session, name).state.ended
                events = storage.events_after(session, name, after)
            for event in events:
                after = event.sequence
                yield event
            if ended and not events:
                return
            if self._signal.closed:
                raise EngineUnavailable("training", "it is stopping")
            if not events:
                seen = self._signal.wait(seen)


def _once(asked: Submission) -> dict[str, str]:
    return {"scope": f"{asked.parent}/runs", "request_id": asked.request_id, "fingerprint": asked.fingerprint}
