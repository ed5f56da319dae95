"""What happens to a run once it is queued, in steps that a crash can't lose: train, register, finish.

Each step is idempotent. Training starts again from its beginning after a crash; registering answers the same version for the
same run; finishing twice changes nothing. While an engine or a service is away it waits where it is, and says so. A step's
outcome is plain data: `result`, `cancelled`, or `error` with a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog

import regrow
from services.common import tracing
from services.common.database import Database
from services.common.errors import RegrowError
from services.training import designs
from services.training.durable import Durable, Interrupted
from services.training.fit import TrainingTask
from services.training.peers import Labeling, Registry, request_id_of
from services.training.runs import storage
from services.training.runs.handlers import Signal
from services.training.runs.messages import rank_of, scores_of
from services.training.runs.process import run_worker
from services.training.runs.rules import Run, State
from services.training.waiting import noted, problem_of

T = TypeVar("T")

log = structlog.get_logger()

Outcome = dict[str, Any]

UNFORESEEN = "Something went wrong in the training service that nobody foresaw. Its log has the details under this run's name."
_MOST_MESSAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWorkflow:
    """The steps of a run, with what they work on. `environment` is what the worker's differs in from this process's."""

    database: Database
    labeling: Labeling
    registry: Registry
    durable: Durable
    signal: Signal
    work_dir: Path
    environment: Mapping[str, str]
    checkpoints: Path | None
    time_limit: timedelta

    def __call__(self, name: str) -> None:
        """The workflow: whatever happens, the run ends and says why."""
        with tracing.caused_by(self.durable.patiently(lambda: self._cause(name)), "run", run=name):
            outcome = self.durable.step("train", lambda: self._guarded(name, lambda: self._train(name)))
            if outcome["type"] == "result":
                outcome |= self.durable.step("register", lambda: self._guarded(name, lambda: self._register(name, outcome)))
            self.durable.step("finish", lambda: self.durable.patiently(lambda: self._finish(name, outcome)))

    def _cause(self, name: str) -> tracing.TraceContext:
        with self.database.reading() as session:
            return storage.cause_of(session, name)

    def _guarded(self, name: str, work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except RegrowError as error:
            return {"type": "error", "reason": error.reason, "message": error.message}
        except Exception:
            log.exception("a run failed", run=name)
            return {"type": "error", "reason": "INTERNAL", "message": UNFORESEEN}

    def _train(self, name: str) -> Outcome:
        run = self.durable.patiently(lambda: self._start(name))
        self.signal.notify()
        if run.state is not State.RUNNING or run.cancelling:
            return {"type": "cancelled"}
        log.info("run started", run=name, attempt=run.attempts)
        task = self._patiently(name, lambda: self._task(run))
        outcome = run_worker(
            {"task": task.to_json(), "cache_dir": str(self.work_dir / "cache")},
            work_dir=self.work_dir / "runs" / name.replace("/", "_"),
            environment={**self.environment, **tracing.to_environment(tracing.current_context())},
            on_event=lambda event: self._keep(name, event),
            cancelled=lambda: self.durable.stopping or self._is_cancelling(name),
            time_limit=self.time_limit,
        )
        if self.durable.stopping and outcome["type"] != "result":
            raise Interrupted
        return {**outcome, "receipt": dict(task.receipt)}

    def _start(self, name: str) -> Run:
        with self.database.session() as session:
            return storage.start_attempt(session, name)

    def _task(self, run: Run) -> TrainingTask:
        label_set = self.labeling.label_set(run.label_set)
        version = self.labeling.dataset_version(run.dataset_version)
        return TrainingTask(
            schedule=run.schedule,
            spec=self.labeling.spec(run.problem_spec),
            dataset_manifest_key=version.object_key,
            label_set_key=label_set.object_key,
            seed=run.seed,
            receipt=receipt_of(run, label_set.digest, version.digest, [s.labeler for s in label_set.labeler_summaries]),
            checkpoints=self.checkpoints,
        )

    def _keep(self, name: str, event: Mapping[str, Any]) -> None:
        if event.get("type") == "report":
            return  # kept with the outcome, once

        def write() -> None:
            with self.database.session() as session:
                if event.get("type") == "waiting":
                    storage.set_waiting(session, name, str(event["for"]))
                else:
                    storage.add_event(session, name, event)

        self.durable.patiently(write)
        self.signal.notify()

    def _patiently(self, name: str, ask: Callable[[], T]) -> T:
        """Waits as long as it takes, and says so."""
        return self.durable.patiently(ask, lambda what: self._wait(name, what))

    def _wait(self, name: str, what: str) -> None:
        noted(self.database, lambda session: storage.set_waiting(session, name, what))
        self.signal.notify()

    def _is_cancelling(self, name: str) -> bool:
        run = self._read(name)
        return run.cancelling or run.state.ended

    def _read(self, name: str) -> Run:
        with self.database.reading() as session:
            return storage.get_run(session, name)

    def _register(self, name: str, outcome: Outcome) -> Outcome:
        run = self.durable.patiently(lambda: self._read(name))
        version = self._patiently(
            name,
            lambda: self.registry.register(
                model=run.model, bundle_digest=outcome["bundle_digest"], run=name,
                receipt={**outcome["receipt"], "schedule": designs.to_json(run.schedule), "seed": run.seed},
                scores=scores_of(outcome["report"]), request_id=request_id_of("run", name),
            ),
        )  # fmt: skip
        return {"version": version}

    def _finish(self, name: str, outcome: Outcome) -> None:
        with self.database.session() as session:
            if outcome["type"] == "result":
                report = outcome["report"]
                storage.succeed(session, name, version=outcome["version"], report=report, rank=rank_of(report))
            elif outcome["type"] == "cancelled" or outcome.get("reason") == "CANCELLED":
                storage.cancelled(session, name)
            else:
                storage.fail(session, name, problem_of(outcome, self.durable.patience)[:_MOST_MESSAGE])
            ended = storage.get_run(session, name)
        log.info("run ended", run=name, state=str(ended.state), version=ended.version, problem=ended.problem)
        self.signal.notify()


def receipt_of(run: Run, label_set_digest: str, dataset_digest: str, labelers: list[str]) -> dict[str, Any]:
    """The fields of `registry.v1.Receipt` that are known before training."""
    return {
        "dataset_version": run.dataset_version,
        "dataset_digest": dataset_digest,
        "label_set": run.label_set,
        "label_set_digest": label_set_digest,
        "problem_spec": run.problem_spec,
        "labelers": sorted(labelers),
        "run": run.name,
        "software": {"regrow": regrow.__version__},
        **run.origin,
    }
