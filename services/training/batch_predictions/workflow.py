"""What happens to a batch prediction once it is queued, in steps that a crash can't lose: score, finish.

Scoring is taken up at the last finished chunk: each one is in the object store before it is in the database, and what is in
neither is scored again. Finishing twice changes nothing. While an engine or a service is away it waits where it is, and says
so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog

from services.common import tracing
from services.common.database import Database
from services.common.errors import RegrowError
from services.common.objects.port import ObjectStore
from services.training.batch_predictions import results, storage
from services.training.batch_predictions.rules import Batch, Chunk, added
from services.training.batch_predictions.scoring import ScoringTask
from services.training.durable import Durable, Interrupted
from services.training.peers import Labeling, Registry
from services.training.runs.process import run_worker
from services.training.runs.rules import State
from services.training.waiting import noted, problem_of

WORKER = "services.training.batch_predictions.worker"
UNFORESEEN = "Something went wrong in the training service that nobody foresaw. Its log has the details under this name."
_MOST_MESSAGE = 2_000

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWorkflow:
    """The steps, with what they work on. `environment` is what the worker's differs in from this process's."""

    database: Database
    objects: ObjectStore
    labeling: Labeling
    registry: Registry
    durable: Durable
    work_dir: Path
    environment: Mapping[str, str]
    time_limit: timedelta

    def __call__(self, name: str) -> None:
        """The workflow: whatever happens, it ends and says why."""
        with tracing.caused_by(self.durable.patiently(lambda: self._cause(name)), "batch_prediction", batch_prediction=name):
            outcome = self.durable.step("score", lambda: self._guarded(name))
            self.durable.step("finish", lambda: self.durable.patiently(lambda: self._finish(name, outcome)))

    def _cause(self, name: str) -> tracing.TraceContext:
        with self.database.reading() as session:
            return storage.cause_of(session, name)

    def _guarded(self, name: str) -> dict[str, Any]:
        try:
            return self._score(name)
        except RegrowError as error:
            return {"type": "error", "reason": error.reason, "message": error.message}
        except Exception:
            log.exception("a batch prediction failed", batch_prediction=name)
            return {"type": "error", "reason": "INTERNAL", "message": UNFORESEEN}

    def _score(self, name: str) -> dict[str, Any]:
        batch = self.durable.patiently(lambda: self._start(name))
        if batch.state is not State.RUNNING or batch.cancelling:
            return {"type": "cancelled"}
        log.info("batch prediction started", batch_prediction=name, attempt=batch.attempts, rows_done=batch.rows_done)
        task = self._patiently(name, lambda: self._task(batch))
        outcome = run_worker(
            {"task": task.to_json(), "cache_dir": str(self.work_dir / "bundles")},
            work_dir=self.work_dir / "batch_predictions" / name.replace("/", "_"),
            environment={**self.environment, **tracing.to_environment(tracing.current_context())},
            on_event=lambda event: self.durable.patiently(lambda: self._keep(name, event)),
            cancelled=lambda: self.durable.stopping or self._is_cancelling(name),
            time_limit=self.time_limit,
            module=WORKER,
        )
        if self.durable.stopping and outcome["type"] != "result":
            raise Interrupted
        if outcome["type"] == "result":
            self._publish(name)
        return outcome

    def _start(self, name: str) -> Batch:
        with self.database.session() as session:
            return storage.start_attempt(session, name)

    def _task(self, batch: Batch) -> ScoringTask:
        done = tuple(chunk.number for chunk in self._chunks(batch.name))
        return ScoringTask(
            bundle_digest=self.registry.version(batch.version).bundle_digest,
            manifest_key=self.labeling.dataset_version(batch.dataset_version).object_key,
            rows=batch.rows,
            label_set_key=self.labeling.label_set(batch.label_set).object_key if batch.label_set else "",
            root=results.root_of(batch.name),
            done=done,
        )

    def _publish(self, name: str) -> None:
        """Names the chunks for whoever reads the object store."""
        done = self.durable.patiently(lambda: self._chunks(name))
        self._patiently(name, lambda: results.write_manifest(self.objects, results.root_of(name), done))

    def _chunks(self, name: str) -> list[Chunk]:
        with self.database.reading() as session:
            return storage.chunks(session, name)

    def _patiently(self, name: str, ask: Callable[[], T]) -> T:
        """Waits as long as it takes, and says so."""
        return self.durable.patiently(ask, lambda what: self._wait(name, what))

    def _wait(self, name: str, what: str) -> None:
        noted(self.database, lambda session: storage.set_waiting(session, name, what))

    def _keep(self, name: str, event: Mapping[str, Any]) -> None:
        with self.database.session() as session:
            match dict(event):
                case {"type": "waiting", "for": str() as what}:
                    storage.set_waiting(session, name, what)
                case {"type": "plan", "rows": int() as count}:
                    storage.set_row_count(session, name, count)
                case {"type": "chunk", **chunk}:
                    storage.add_chunk(session, name, Chunk(**chunk))

    def _is_cancelling(self, name: str) -> bool:
        with self.database.reading() as session:
            batch = storage.get_batch(session, name)
        return batch.cancelling or batch.state.ended

    def _finish(self, name: str, outcome: Mapping[str, Any]) -> None:
        with self.database.session() as session:
            if outcome["type"] == "result":
                storage.succeed(session, name, [*outcome["notes"], *_unread(storage.chunks(session, name))])
            elif outcome["type"] == "cancelled" or outcome.get("reason") == "CANCELLED":
                storage.cancelled(session, name)
            else:
                storage.fail(session, name, problem_of(outcome, self.durable.patience)[:_MOST_MESSAGE])
            ended = storage.get_batch(session, name)
        log.info("batch prediction ended", batch_prediction=name, state=str(ended.state), problem=ended.problem)


def _unread(chunks: list[Chunk]) -> list[str]:
    return [
        f"{count:,} cells of '{column}' can't be read as the kind that the model knows: they were taken as unknown."
        for column, count in added([chunk.unread for chunk in chunks]).items()
    ]
