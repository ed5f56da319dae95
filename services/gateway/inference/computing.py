"""The work itself: rows of one call, or of several calls together, through a loaded version."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from services.common.bundle import Bundle, Predictions, Request
from services.common.bundle.values import Columns, Warning
from services.gateway.inference import meters
from services.gateway.inference.loading import Loaded
from services.gateway.inference.rows import Rows, StructRows
from services.gateway.inference.tally import Timed

Outcome = Predictions | BaseException

_FEW_ROWS = 64
"""More are computed in chunks of as many, between which the work can end."""


class Asked(Protocol):
    """One call's rows. `left`: its caller is gone; asked from any thread. `arrived` is of `time.perf_counter_ns`."""

    rows: Rows
    arrived: int

    @property
    def left(self) -> bool:
        """Whether nobody waits for the answer."""
        ...


def compute(loaded: Loaded, batch: Sequence[Asked]) -> tuple[list[Outcome], Timed]:
    """In any thread: what each call gets, and when it was computed. A call whose rows can't be read fails alone."""
    began, cpu = time.perf_counter_ns(), time.thread_time()
    whole = _read_beside(loaded, batch)
    requests = [] if whole is not None else [_read(loaded, call.rows) for call in batch]
    read = time.perf_counter_ns()
    if whole is not None:
        outcomes = _beside(loaded, batch, whole)
    else:
        outcomes = _alone(loaded, batch, requests[0]) if len(requests) == 1 else _together(loaded, batch, requests)
    # CPU time and not time on the wall: what other threads do says nothing of this model.
    loaded.took(time.thread_time() - cpu, sum([call.rows.size for call in batch]))
    return outcomes, Timed(began, read, time.perf_counter_ns())


def executed(loaded: Loaded, batch: Sequence[Asked], outcomes: Sequence[Outcome], timed: Timed) -> None:
    """Counts a computation for the calls that it answered, where it answered any. On the event loop."""
    answered = [call for call, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, Predictions)]
    if not answered:
        return
    rows = sum([len(call.rows) for call in answered])
    loaded.tally.execute([call.arrived for call in answered], rows, timed)
    meters.BATCH_ROWS.observe(rows)
    meters.MODEL_SECONDS.observe((timed.ended - timed.began) / 1e9)


def _read_beside(loaded: Loaded, batch: Sequence[Asked]) -> Request | None:
    """The rows of all calls as those of one; None where they can't be read so."""
    joined = batch[0].rows.beside([call.rows for call in batch[1:]]) if len(batch) > 1 else None
    request = None if joined is None else _read(loaded, joined)
    return request if isinstance(request, Request) else None


def _beside(loaded: Loaded, batch: Sequence[Asked], whole: Request) -> list[Outcome]:
    (outcome,) = _alone(loaded, batch, whole)
    if isinstance(outcome, Predictions):
        return list(outcome.parted([len(call.rows) for call in batch]))
    return _together(loaded, batch, [_read(loaded, call.rows) for call in batch])  # whose fault it was is found so


def _alone(loaded: Loaded, batch: Sequence[Asked], request: Request | Exception) -> list[Outcome]:
    """The answer to the only request that `batch` waits for."""
    if not isinstance(request, Request):
        return [request]

    def go_on() -> bool:
        return not all(call.left for call in batch)

    try:
        return [loaded.bundle.predict_columns(request.columns, request.warnings, go_on if len(request) > _FEW_ROWS else None)]
    except Exception as error:
        return [error]


def _together(loaded: Loaded, batch: Sequence[Asked], requests: Sequence[Request | Exception]) -> list[Outcome]:
    good = [request for request in requests if isinstance(request, Request)]
    try:
        answers = iter(loaded.bundle.answer(good) if good else ())
    except Exception:  # whatever it was, it is the fault of one of them
        return [_alone(loaded, [call], request)[0] for call, request in zip(batch, requests, strict=True)]
    return [next(answers) if isinstance(request, Request) else request for request in requests]


def _read(loaded: Loaded, rows: Rows) -> Request | Exception:
    try:
        columns, warnings = _columns(loaded.bundle, rows)
        return Request(columns=columns, warnings=warnings)
    except Exception as error:
        return error


def _columns(bundle: Bundle, rows: Rows) -> tuple[Columns, list[list[Warning]]]:
    columns, warnings = rows.read(bundle.manifest.inputs)
    if isinstance(rows, StructRows):
        rows.warn_of_unknown(bundle.known, bundle.input_names, warnings)
    return columns, warnings
