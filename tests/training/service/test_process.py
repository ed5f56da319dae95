"""A training process as the service sees it: ended when cancelled or late, and never silently gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.training.runs.process import run_worker

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
