"""One run in a process of its own: `python -m services.training.worker TASK.json`.

The task file holds `{"task": TrainingTask, "cache_dir": path}`. Every event is one JSON line on stdout; the last line is
`{"type": "result", ...}` or `{"type": "error", "reason": ..., "message": ..., "facts": {...}}`. SIGTERM cancels at the next
batch. Exit codes: 0 done, 2 an error that the caller can understand (it is the last line), 3 cancelled, 4 the service that
started it is gone (the pipe on stdin closed); anything else is a crash, whose traceback is on stderr.
"""

from __future__ import annotations

import os

# Before numpy or torch load their thread pools: two pools that spin on two cores made a call 180 times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from services.common import tracing
from services.common.errors import Cancelled, InvalidField, RegrowError
from services.common.objects import objects_from
from services.common.settings import load
from services.training.fit import TrainingTask, fit
from services.training.settings import TrainingSettings

DONE, REFUSED, CANCELLED, ORPHANED = 0, 2, 3, 4


def main(arguments: list[str]) -> int:
    """Runs the task file's task and answers the exit code."""
    lines, sys.stdout = sys.stdout, sys.stderr  # nothing but events reaches stdout, whatever a library prints
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _end_with_the_service()
    try:
        raw, settings = _read(arguments), load(TrainingSettings, [])
        end_tracing = tracing.start_tracing("training-worker", settings)
        try:
            with tracing.caused_by(tracing.from_environment(), "fit"):
                result = fit(
                    TrainingTask.from_json(raw["task"]),
                    objects_from(settings),
                    lambda event: _write(lines, event),
                    Path(raw["cache_dir"]),
                    stop.is_set,
                )
        finally:
            end_tracing()
    except RegrowError as error:
        _write(lines, {"type": "error", "reason": error.reason, "message": error.message, "facts": error.facts})
        return CANCELLED if isinstance(error, Cancelled) else REFUSED
    _write(lines, {"type": "result", "bundle_digest": result.bundle_digest, "report": result.report})
    return DONE


def _end_with_the_service() -> None:
    """A killed service can't end its workers, but its pipes close: whoever takes the run up then has it alone."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait_for_the_end, name="orphan-watch", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def _read(arguments: list[str]) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(Path(arguments[0]).read_text())
    except (IndexError, OSError, ValueError) as error:
        raise InvalidField("task file", f"{type(error).__name__}: name one JSON file with the task.") from error
    return raw


def _write(lines: TextIO, event: dict[str, Any]) -> None:
    lines.write(json.dumps(event, allow_nan=False) + "\n")
    lines.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
