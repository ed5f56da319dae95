"""What the processes have in common that the service starts for its work: `python -m ... TASK.json`.

The task file is one JSON object. Every event is one JSON line on stdout, also `{"type": "waiting", "for": ...}` while the store
of objects is away, whose `for` is empty when that is over; the last line is `{"type": "result", ...}` or
`{"type": "error", "reason": ..., "message": ..., "facts": {...}}`. SIGTERM cancels. Exit codes: 0 done, 2 an error that the
caller can understand (it is the last line), 3 cancelled, 4 the service that started it is gone (the pipe on stdin closed);
anything else is a crash, whose traceback is on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from services.common import tracing
from services.common.errors import Cancelled, EngineUnavailable, InvalidField, RegrowError
from services.common.objects import ObjectStore, objects_from
from services.common.objects.patient import PatientStore
from services.common.settings import load
from services.training.settings import TrainingSettings
from services.training.waiting import waited_for

DONE, REFUSED, CANCELLED, ORPHANED = 0, 2, 3, 4

OnEvent = Callable[[dict[str, Any]], None]
Work = Callable[[Mapping[str, Any], ObjectStore, OnEvent, Callable[[], bool]], dict[str, Any]]
"""The task, the objects, what is told of events, whether to end: answers the fields of the result."""


def run_task(arguments: Sequence[str], name: str, span: str, work: Work) -> int:
    """Does the task file's work and answers the exit code. `name` and `span` are what traces call it."""
    lines, sys.stdout = sys.stdout, sys.stderr  # nothing but events reaches stdout, whatever a library prints
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _end_with_the_service()
    try:
        raw, settings = _read(arguments), load(TrainingSettings, [])
        end_tracing = tracing.start_tracing(name, settings)
        try:
            with tracing.caused_by(tracing.from_environment(), span):
                objects = _patient(settings, lines, stop)
                result = work(raw, objects, lambda event: _write(lines, event), stop.is_set)
        finally:
            end_tracing()
    except RegrowError as error:
        _write(lines, {"type": "error", "reason": error.reason, "message": error.message, "facts": error.facts})
        return CANCELLED if isinstance(error, Cancelled) else REFUSED
    _write(lines, {"type": "result", **result})
    return DONE


def _patient(settings: TrainingSettings, lines: TextIO, stop: threading.Event) -> ObjectStore:
    """The store, waited for: hours of training aren't lost to minutes of an outage. `waiting` events say so."""

    def told(error: EngineUnavailable | None) -> None:
        _write(lines, {"type": "waiting", "for": waited_for(error) if error is not None else ""})

    return PatientStore(objects_from(settings), patience=settings.outage_patience, told=told, pause=stop.wait)


def _end_with_the_service() -> None:
    """A killed service can't end its workers, but its pipes close: whoever takes the work up then has it alone."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait_for_the_end, name="orphan-watch", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def _read(arguments: Sequence[str]) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(Path(arguments[0]).read_text())
    except (IndexError, OSError, ValueError) as error:
        raise InvalidField("task file", f"{type(error).__name__}: name one JSON file with the task.") from error
    return raw


def _write(lines: TextIO, event: dict[str, Any]) -> None:
    lines.write(json.dumps(event, allow_nan=False) + "\n")
    lines.flush()
