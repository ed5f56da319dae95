"""Predict: rows in, classes with probabilities out.

A request that is small and, as its version is known to do, takes less than half a millisecond is computed on the event loop:
handing it to a thread and back would cost as much again. The others are computed in threads. Several are computed together
where that is worth it.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regrow.gateway.v1 import gateway_pb2
from services.common.bundle import Predictions
from services.common.errors import FailedPrecondition, RegrowError
from services.common.names import parse
from services.common.rpc.principal import current_call
from services.gateway.inference import meters
from services.gateway.inference.aliases import CHAMPION
from services.gateway.inference.batching import Batches
from services.gateway.inference.description import described
from services.gateway.inference.gathering import Gathering
from services.gateway.inference.loading import Loaded
from services.gateway.inference.prediction_log import Answered, PredictionIds, PredictionLog
from services.gateway.inference.rows import Rows, StructRows
from services.gateway.inference.serving import Serving
from services.gateway.limits.limiter import Limiter

_MOST_LISTED, _FEW_CLASSES = 20, 100
_SWAPS_FOLLOWED = 3
_SMALL_BYTES, _QUICK_SECONDS = 4096, 0.0005
_FEW_ROWS = 100


class Answer(NamedTuple):
    """What a call hears: of each row a prediction and its id."""

    loaded: Loaded
    predicted: Predictions
    ids: list[str]


class Predictor:
    """Belongs to the event loop."""

    def __init__(self, serving: Serving, log: PredictionLog, limiter: Limiter, batches: Batches) -> None:
        self._serving = serving
        self._limiter = limiter
        self._log = log
        self._batches = batches
        self._gathering = Gathering()
        self._ids = PredictionIds()
        meters.QUEUE.set_function(lambda: batches.pending)

    async def predict(self, request: gateway_pb2.PredictRequest) -> gateway_pb2.PredictResponse:
        """Answers every row, or raises as `answer` does."""
        made = await self.answer(request.name, StructRows(request.rows, request.ByteSize()))
        if len(made.ids) <= _FEW_ROWS:
            return _response(made)
        return await asyncio.to_thread(_response, made)

    async def answer(self, name: str, rows: Rows) -> Answer:
        """Computes every row, gives it an id and logs it.

        Raises `InvalidField` for a value that can't be read, `Busy`, `DeadlineExceeded`, `QuotaExceeded`, and what
        `Serving.find` does.
        """
        arrived = time.perf_counter_ns()
        account = self._limiter.current()
        if account is not None:
            account.spend(rows=len(rows))
        try:
            loaded, predicted = await self._computed(name, rows, arrived)
        except BaseException:
            if account is not None:
                account.give_back(rows=len(rows))
            raise
        ids, moment = self._ids.take(len(rows))
        loaded.predictions += len(ids)
        meters.ROWS.inc(len(ids))
        spec, target = loaded.bundle.spec, loaded.target
        self._log.record(
            Answered(
                ids=ids, model=target.model, version=target.number, features=rows.features,
                probabilities=predicted.probabilities, class_names=predicted.classes,
                problem_spec=spec.name, dataset=spec.dataset, time=moment,
            ),
            size=2 * rows.size + predicted.probabilities.nbytes,
        )  # fmt: skip
        loaded.tally.answer(arrived, len(ids))
        return Answer(loaded=loaded, predicted=predicted, ids=ids)

    async def served(self, request: gateway_pb2.GetServedModelRequest) -> gateway_pb2.ServedModel:
        """What the champion reads and answers."""
        parse("projects/{project}/models/{model}", request.name)
        loaded = await self._serving.find(request.name)
        return described(request.name, loaded)

    def close(self) -> None:
        """Lets running calls end."""
        self._batches.close()

    async def _computed(self, name: str, rows: Rows, arrived: int) -> tuple[Loaded, Predictions]:
        """With the version that answers at the moment of the answer: one that was replaced meanwhile computes in vain."""
        for _ in range(_SWAPS_FOLLOWED):
            loaded = await self._serving.find(name)
            try:
                if rows.size <= _SMALL_BYTES and (loaded.expected_seconds(rows.size) or _QUICK_SECONDS) < _QUICK_SECONDS:
                    predicted = await self._gathering.compute(loaded, rows)
                else:
                    call = current_call()
                    deadline = None if call is None else call.deadline
                    predicted = await self._batches.compute(loaded, rows, deadline=deadline)
            except RegrowError:
                loaded.tally.fail(arrived)
                raise
            if self._serving.is_current(name, loaded):
                return loaded, predicted
        raise FailedPrecondition(
            f"The alias {CHAMPION} of '{name}' moves faster than predictions are made.", reason="ALIAS_IN_MOTION"
        )


def _response(made: Answer) -> gateway_pb2.PredictResponse:
    predicted, names = made.predicted, made.loaded.bundle.spec.class_names
    response = gateway_pb2.PredictResponse(version=made.loaded.target.name)
    for row, prediction_id in enumerate(made.ids):
        probabilities = predicted.probabilities[row]
        one = response.predictions.add(prediction_id=prediction_id, class_names=predicted.classes[row])
        for index in _most_probable(probabilities):
            one.probabilities.add(class_name=names[index], probability=round(float(probabilities[index]), 6))
        for warning in predicted.warnings[row]:
            one.warnings.add(field=warning.field, problem=warning.problem)
    return response


def _most_probable(probabilities: npt.NDArray[np.float32]) -> list[int]:
    """Indexes of the largest probabilities, largest first; among equals the first class."""
    if len(probabilities) <= _FEW_CLASSES:
        values = probabilities.tolist()
        return sorted(range(len(values)), key=lambda index: -values[index])[:_MOST_LISTED]
    some = np.sort(np.argpartition(-probabilities, _MOST_LISTED)[:_MOST_LISTED])
    order: list[int] = some[np.argsort(-probabilities[some], kind="stable")].tolist()
    return order
