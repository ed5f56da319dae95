"""A training process as the service sees it: ended when cancelled or late, and never silently gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.training.batch_predictions.rules import Rows
from services.training.batch_predictions.scoring import ScoringTask
from services.training.batch_predictions.workflow import WORKER
from services.training.runs.process import run_worker
from services.training.waiting import problem_of

HOUR = timedelta(hours=1)


def run(
    folder: Path,
    *,
    task: Mapping[str, Any] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_event: Callable[[Mapping[str, Any]], None] = lambda _: None,
    time_limit: timedelta = HOUR,
) -> dict[str, Any]:
    return run_worker(
        {"task": task or {}, "cache_dir": str(folder / "cache")}, work_dir=folder / "run", on_event=on_event,
        environment={"REGROW_DATA_DIR": str(folder)}, cancelled=cancelled, time_limit=time_limit,
    )  # fmt: skip


def worker_of(folder: Path) -> int:
    for place in Path("/proc").glob("[0-9]*"):
        words = (place / "cmdline").read_bytes().split(b"\0") if (place / "cmdline").exists() else []
        if b"services.training.worker" in words and str(folder).encode() in words[-2]:
            return int(place.name)
    raise AssertionError("there is no worker")


def test_a_run_that_is_late_is_ended_and_says_so(tmp_path: Path) -> None:
    outcome = run(tmp_path, time_limit=timedelta(0))
    assert (outcome["type"], outcome["reason"]) == ("error", "TOO_LATE")
    assert "took longer than 0:00:00" in outcome["message"]


def test_a_run_that_is_cancelled_is_ended(tmp_path: Path) -> None:
    assert run(tmp_path, cancelled=lambda: True) == {"type": "cancelled"}


def test_a_question_that_fails_cancels_nothing(tmp_path: Path) -> None:
    answers = iter([OSError("the database is away"), None])

    def cancelled() -> bool:
        if (answer := next(answers)) is not None:
            raise answer
        return True

    assert run(tmp_path, cancelled=cancelled) == {"type": "cancelled"}


def test_a_worker_that_is_killed_is_an_error_with_the_likely_reason(tmp_path: Path) -> None:
    def kill() -> bool:
        os.kill(worker_of(tmp_path), signal.SIGKILL)
        return False

    outcome = run(tmp_path, cancelled=kill)
    assert (outcome["type"], outcome["reason"]) == ("error", "WORKER_DIED")
    assert "for want of memory" in outcome["message"]


@pytest.mark.slow
def test_a_worker_that_crashes_leaves_its_traceback_in_the_log_and_none_in_the_answer(tmp_path: Path) -> None:
    outcome = run(tmp_path, task={"nonsense": 1})
    assert outcome["reason"] == "WORKER_DIED"
    assert "exit code 1" in outcome["message"] and "KeyError" not in outcome["message"]
    assert "KeyError" in (tmp_path / "run" / "worker.log").read_text()


@pytest.mark.slow
def test_a_worker_waits_for_a_store_that_is_away_says_so_and_gives_up_when_patience_ends(tmp_path: Path) -> None:
    environment = {
        "REGROW_DATA_DIR": str(tmp_path), "REGROW_MINIO_ENDPOINT": "http://127.0.0.1:1", "REGROW_MINIO_ACCESS_KEY": "a",
        "REGROW_MINIO_SECRET_KEY": "secret-enough", "REGROW_TRAINING_OUTAGE_PATIENCE": "PT3S",
    }  # fmt: skip
    task = ScoringTask(bundle_digest=f"sha256:{'a' * 64}", manifest_key="m", rows=Rows.ALL, label_set_key="", root="r")
    events: list[Mapping[str, Any]] = []
    outcome = run_worker(
        {"task": task.to_json(), "cache_dir": str(tmp_path / "cache")}, work_dir=tmp_path / "run", environment=environment,
        on_event=events.append, cancelled=lambda: False, time_limit=HOUR, module=WORKER,
    )  # fmt: skip
    away = "the object store, which can't be reached: the store doesn't answer"
    assert [event["for"] for event in events if event["type"] == "waiting"] == [away, ""]
    assert (outcome["type"], outcome["reason"]) == ("error", "ENGINE_UNAVAILABLE")
    told = problem_of(outcome, timedelta(seconds=3))
    assert told == f"It waited 0:00:03 for {away}. Submit it again when that is back."
