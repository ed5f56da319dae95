"""Rows of batch predictions count in the caller's rows of a day, as those of Predict do: all at once, when one is made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import Message

from regrow.labeling.v1 import datasets_pb2
from regrow.training.v1 import batch_predictions_pb2
from services.gateway.limits.limiter import Limiter
from services.gateway.methods import Method, public_methods

CREATE = "/regrow.training.v1.BatchPredictionService/CreateBatchPrediction"
_VERSION = "/regrow.labeling.v1.DatasetService/GetDatasetVersion"
_MOST_CALLS = 10_000

Start = Callable[[Method, bytes], Awaitable[bytes]]
"""Calls the service that answers a method, for whoever makes the call that runs now."""


class CountedBatches:
    """Belongs to the event loop. Rows without a label can't be counted before: they count as all rows of the version."""

    def __init__(self, limiter: Limiter, start: Start) -> None:
        self._limiter = limiter
        self._start = start
        self._counted: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        """Calls with a `request_id` that were counted: a repeated one gets the same answer, and costs nothing."""

    async def create(self, request: batch_predictions_pb2.CreateBatchPredictionRequest) -> Message:
        """Makes one. Raises `QuotaExceeded` before anything is made, and whatever the services do."""
        account = self._limiter.current()
        if account is None:
            return await self._made(request)
        call = (account.principal.key_id, request.parent, request.request_id)
        rows = 0 if request.request_id and call in self._counted else await self._rows(request.batch_prediction)
        account.spend(rows=rows)
        try:
            made = await self._made(request)
        except BaseException:
            account.give_back(rows=rows)
            raise
        if request.request_id:
            self._counted[call] = None
        while len(self._counted) > _MOST_CALLS:
            self._counted.popitem(last=False)
        return made

    async def _made(self, request: Message) -> Message:
        return batch_predictions_pb2.BatchPrediction.FromString(await self._call(CREATE, request))

    async def _rows(self, wanted: batch_predictions_pb2.BatchPrediction) -> int:
        request = datasets_pb2.GetDatasetVersionRequest(name=wanted.dataset_version)
        try:
            version = datasets_pb2.DatasetVersion.FromString(await self._call(_VERSION, request))
        except grpc.aio.AioRpcError:
            return 0  # nor can a batch prediction be made of it: who makes it says why, by its own fields
        return version.holdout_count if wanted.row_filter == batch_predictions_pb2.ROW_FILTER_HOLDOUT else version.row_count

    async def _call(self, path: str, request: Message) -> bytes:
        return await self._start(public_methods()[path], request.SerializeToString())
