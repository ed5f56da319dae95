"""Runs a worker as a process: its events as they come, its result at the end, an end to it when cancelled.

The worker's standard input stays open for as long as this process lives: the worker ends itself when it closes, so a killed
service leaves no training behind. It has a session of its own: a Ctrl-C in the terminal is the service's business alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

_LOOK_EVERY = 0.25
_GRACE = 5.0
_KILLED = (-9, 137)

TRAINING = "services.training.worker"

OnEvent = Callable[[Mapping[str, Any]], None]


def run_worker(
    task: Mapping[str, Any],
    *,
    work_dir: Path,
    environment: Mapping[str, str],
    on_event: OnEvent,
    cancelled: Callable[[], bool],
    time_limit: timedelta,
    module: str = TRAINING,
) -> dict[str, Any]:
    """Does one task in `python -m module`.

    Answers the worker's last line: `{"type": "result", ...}` or `{"type": "error", "message": ...}`, and
    `{"type": "cancelled"}` where `cancelled` became true. A worker that died is an error, too: `WORKER_DIED`.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    task_file, log_file = work_dir / "task.json", work_dir / "worker.log"
    task_file.write_text(json.dumps(task))
    with _worker(module, task_file, log_file, environment) as process:
        watch = _Watch(process, cancelled, time_limit)
        last = _forward(_lines(process), on_event)
        process.wait()
        watch.done.set()
    if watch.outcome is not None:
        return watch.outcome
    if last.get("type") in ("result", "error"):
        return last
    return {"type": "error", "reason": "WORKER_DIED", "message": _last_words(process.returncode, log_file)}


@contextmanager
def _worker(module: str, task_file: Path, log_file: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Whatever ends the block ends the process."""
    quiet = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "OMP_WAIT_POLICY": "PASSIVE"}
    with log_file.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(task_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env={**os.environ, **quiet, **environment}, start_new_session=True,
        )  # fmt: skip
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


class _Watch:
    """Ends the process when it is cancelled or late; `outcome` is then what became of the run."""

    def __init__(self, process: subprocess.Popen[bytes], cancelled: Callable[[], bool], time_limit: timedelta) -> None:
        self.done = threading.Event()
        self.outcome: dict[str, Any] | None = None
        self._process, self._cancelled, self._limit = process, cancelled, time_limit
        self._deadline = time.monotonic() + time_limit.total_seconds()
        threading.Thread(target=self._look, name="run-watch", daemon=True).start()

    def _look(self) -> None:
        while not self.done.wait(_LOOK_EVERY) and self._process.poll() is None:
            if time.monotonic() > self._deadline:
                late = f"It took longer than {self._limit}. Choose a smaller design, or raise the limit."
                self.outcome = {"type": "error", "reason": "TOO_LATE", "message": late}
            elif self._asked():
                self.outcome = {"type": "cancelled"}
            if self.outcome is not None:
                return self._end()

    def _asked(self) -> bool:
        try:
            return self._cancelled()
        except Exception:
            log.exception("the question whether a run is cancelled failed")
            return False

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for raw in process.stdout:
        try:
            line = json.loads(raw)
        except ValueError:
            log.warning("the worker printed something else", line=raw[:200].decode(errors="replace"))
            continue
        if isinstance(line, dict):
            yield line


def _forward(lines: Iterator[dict[str, Any]], on_event: OnEvent) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in lines:
        if line.get("type") not in ("result", "error"):
            on_event(line)
        last = line
    return last


def _last_words(code: int | None, log_file: Path) -> str:
    log.error("a worker died", code=code, log=str(log_file))
    if code in _KILLED:
        return "The process was killed, most often for want of memory. Choose a smaller design, or fewer rows."
    where = "/".join(log_file.parts[-4:])  # training/runs/<run>/worker.log
    return f"The process ended unexpectedly (exit code {code}). Its log is '{where}' in the data folder."
