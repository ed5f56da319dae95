"""The work itself: rows of one call, or of several calls together, through a loaded version."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from services.common.bundle import Bundle, Predictions, Request
from services.common.bundle.values import Columns, Warning
from services.gateway.inference import meters
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import Rows, StructRows

Outcome = Predictions | BaseException

_FEW_ROWS = 64
"""More are computed in chunks of as many, between which the work can end."""


class Asked(Protocol):
    """One call's rows. `left`: its caller is gone; asked from any thread."""

    rows: Rows

    @property
    def left(self) -> bool:
        """Whether nobody waits for the answer."""
        ...


def compute_alone(loaded: Loaded, rows: Rows) -> Predictions:
    """Predicts at once, in this thread."""
    began, cpu = time.perf_counter(), time.thread_time()
    predicted = loaded.bundle.predict_columns(*_columns(loaded.bundle, rows))
    # CPU time and not time on the wall: what other threads do says nothing of this model.
    loaded.took(time.thread_time() - cpu, rows.size)
    meters.BATCH_ROWS.observe(len(rows))
    meters.MODEL_SECONDS.observe(time.perf_counter() - began)
    return predicted


def compute(loaded: Loaded, batch: Sequence[Asked]) -> tuple[list[Outcome], float]:
    """In a thread: what each call gets, and the seconds that it took."""
    began, cpu = time.perf_counter(), time.thread_time()

    def go_on() -> bool:
        return not all(call.left for call in batch)

    outcomes = [_alone(loaded, batch[0], go_on)] if len(batch) == 1 else _together(loaded, batch)
    loaded.took(time.thread_time() - cpu, sum(call.rows.size for call in batch))
    return outcomes, time.perf_counter() - began


def _alone(loaded: Loaded, call: Asked, go_on: Callable[[], bool]) -> Outcome:
    predict = loaded.bundle.predict_columns
    try:
        columns, warnings = _columns(loaded.bundle, call.rows)
        return predict(columns, warnings, go_on) if len(warnings) > _FEW_ROWS else predict(columns, warnings)
    except Exception as error:
        return error


def _together(loaded: Loaded, batch: Sequence[Asked]) -> list[Outcome]:
    """A call whose rows can't be read fails alone, and so does one that can't be computed."""
    read = [_read(loaded, call) for call in batch]
    good = [request for request in read if isinstance(request, Request)]
    try:
        answers = iter(loaded.bundle.answer(good) if good else ())
    except Exception:
        return [_alone(loaded, call, lambda: True) for call in batch]
    return [next(answers) if isinstance(request, Request) else request for request in read]


def _read(loaded: Loaded, call: Asked) -> Request | Exception:
    try:
        columns, warnings = _columns(loaded.bundle, call.rows)
        return Request(columns=columns, warnings=warnings)
    except Exception as error:
        return error


def _columns(bundle: Bundle, rows: Rows) -> tuple[Columns, list[list[Warning]]]:
    columns, warnings = rows.read(bundle.manifest.inputs)
    if isinstance(rows, StructRows):
        rows.warn_of_unknown(bundle.known, bundle.input_names, warnings)
    return columns, warnings
