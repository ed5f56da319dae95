"""The gRPC edge of batch predictions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import grpc
from google.api.httpbody_pb2 import HttpBody

from regrow.training.v1 import batch_predictions_pb2 as pb
from regrow.training.v1 import batch_predictions_pb2_grpc as rpc
from services.common.database import now
from services.common.frames.export import CONTENT_TYPES
from services.common.frames.sniffing import Format
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.objects.port import LINK_TYPE
from services.training.batch_predictions.handlers import BatchPredictions, Order
from services.training.batch_predictions.rules import Batch, Rows
from services.training.runs.messages import moment
from services.training.runs.rules import State

_Context = grpc.ServicerContext
_LONGEST_LEFT = timedelta(days=365).total_seconds()

_ROWS = {pb.ROW_FILTER_UNLABELED: Rows.UNLABELED, pb.ROW_FILTER_HOLDOUT: Rows.HOLDOUT}
_FILTERS = {Rows.ALL: pb.ROW_FILTER_ALL, **{rows: number for number, rows in _ROWS.items()}}
_STATES = {
    State.QUEUED: pb.BATCH_PREDICTION_STATE_QUEUED,
    State.RUNNING: pb.BATCH_PREDICTION_STATE_RUNNING,
    State.SUCCEEDED: pb.BATCH_PREDICTION_STATE_SUCCEEDED,
    State.FAILED: pb.BATCH_PREDICTION_STATE_FAILED,
    State.CANCELLED: pb.BATCH_PREDICTION_STATE_CANCELLED,
}


class BatchPredictionApi(rpc.BatchPredictionServiceServicer):
    """regrow.training.v1.BatchPredictionService."""

    def __init__(self, batches: BatchPredictions) -> None:
        self._batches = batches

    def CreateBatchPrediction(self, request: pb.CreateBatchPredictionRequest, context: _Context) -> pb.BatchPrediction:
        """See the proto."""
        wanted = request.batch_prediction
        order = Order(
            parent=request.parent, batch_id=request.batch_prediction_id, dataset_version=wanted.dataset_version,
            model=wanted.model, rows=_ROWS.get(wanted.row_filter, Rows.ALL), request_id=request.request_id,
            fingerprint=fingerprint(request),
        )  # fmt: skip
        return _message(self._batches.create(order))

    def GetBatchPrediction(self, request: pb.GetBatchPredictionRequest, context: _Context) -> pb.BatchPrediction:
        """See the proto."""
        return _message(self._batches.get(request.name))

    def ListBatchPredictions(
        self, request: pb.ListBatchPredictionsRequest, context: _Context
    ) -> pb.ListBatchPredictionsResponse:
        """See the proto."""
        batches, token = self._batches.list_batches(request.parent, asked(request))
        return pb.ListBatchPredictionsResponse(batch_predictions=map(_message, batches), next_page_token=token)

    def CancelBatchPrediction(self, request: pb.CancelBatchPredictionRequest, context: _Context) -> pb.BatchPrediction:
        """See the proto."""
        return _message(self._batches.cancel(request.name))

    def DownloadBatchPrediction(self, request: pb.DownloadBatchPredictionRequest, context: _Context) -> Iterator[HttpBody]:
        """See the proto."""
        as_csv = request.file_format == pb.RESULT_FORMAT_CSV
        if request.link and (link := self._batches.download_link(request.name, as_csv=as_csv)) is not None:
            yield HttpBody(content_type=LINK_TYPE, data=f"{link}\r\n".encode())
            return
        for chunk in self._batches.download(request.name, as_csv=as_csv):
            yield HttpBody(content_type=CONTENT_TYPES[Format.CSV if as_csv else Format.PARQUET], data=chunk)


def _message(batch: Batch, at: datetime | None = None) -> pb.BatchPrediction:
    at = at or now()
    made = pb.BatchPrediction(
        name=batch.name, dataset_version=batch.dataset_version, model=batch.model, row_filter=_FILTERS[batch.rows],
        state=_STATES[batch.state], version=batch.version, row_count=batch.row_count, rows_done=batch.rows_done,
        rows_per_second=batch.rows_per_second(at), size_bytes=batch.size, notes=batch.notes, problem=batch.problem,
        attempts=batch.attempts, create_time=moment(batch.created), start_time=moment(batch.started),
        end_time=moment(batch.ended), waiting_for=batch.waiting_for,
        class_counts=[pb.ClassCount(class_name=name, rows=count) for name, count in batch.counts.items()],
    )  # fmt: skip
    if (left := batch.seconds_left(at)) is not None:
        made.time_left.FromTimedelta(timedelta(seconds=min(left, _LONGEST_LEFT)))
    return made
