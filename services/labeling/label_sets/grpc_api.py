"""The gRPC edge of label sets."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.api.httpbody_pb2 import HttpBody

from regrow.labeling.v1 import datasets_pb2
from regrow.labeling.v1 import label_sets_pb2 as pb
from regrow.labeling.v1 import label_sets_pb2_grpc as rpc
from services.common.errors import InvalidField
from services.common.frames.export import CONTENT_TYPES
from services.common.frames.sniffing import Format
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.labeling.aggregation.choice import Method
from services.labeling.label_sets.handlers import LabelSets
from services.labeling.label_sets.model import LabelerSummary, LabelSet, LabelSetOrder

SERVICE = "regrow.labeling.v1.LabelSetService"
_Context = grpc.ServicerContext
_METHODS = {
    pb.AGGREGATION_METHOD_UNSPECIFIED: Method.AUTOMATIC,
    pb.AGGREGATION_METHOD_MAJORITY: Method.MAJORITY,
    pb.AGGREGATION_METHOD_SOFT_MAJORITY: Method.SOFT_MAJORITY,
    pb.AGGREGATION_METHOD_DAWID_SKENE: Method.DAWID_SKENE,
}
_METHOD_NUMBERS = {method: number for number, method in _METHODS.items()}
_FORMATS = {
    datasets_pb2.FILE_FORMAT_CSV: Format.CSV,
    datasets_pb2.FILE_FORMAT_TSV: Format.TSV,
    datasets_pb2.FILE_FORMAT_JSONL: Format.JSONL,
    datasets_pb2.FILE_FORMAT_PARQUET: Format.PARQUET,
}


class LabelSetServicer(rpc.LabelSetServiceServicer):
    """regrow.labeling.v1.LabelSetService."""

    def __init__(self, label_sets: LabelSets) -> None:
        self._label_sets = label_sets

    def CreateLabelSet(self, request: pb.CreateLabelSetRequest, context: _Context) -> pb.LabelSet:
        """See the proto."""
        wanted = request.label_set
        if wanted.method not in _METHODS:
            raise InvalidField("label_set.method", f"{wanted.method} stands for nothing that this release knows.")
        order = LabelSetOrder(
            parent=request.parent, problem_spec=wanted.problem_spec, label_set_id=request.label_set_id,
            dataset_version="" if wanted.dataset_version == "latest" else wanted.dataset_version,
            method=_METHODS[wanted.method], labelers=tuple(wanted.labelers), ignore_target_column=wanted.ignore_target_column,
        )  # fmt: skip
        return _message(self._label_sets.create(order, request_id=request.request_id, fingerprint=fingerprint(request)))

    def GetLabelSet(self, request: pb.GetLabelSetRequest, context: _Context) -> pb.LabelSet:
        """See the proto."""
        return _message(self._label_sets.get(request.name))

    def ListLabelSets(self, request: pb.ListLabelSetsRequest, context: _Context) -> pb.ListLabelSetsResponse:
        """See the proto."""
        found, token = self._label_sets.list_label_sets(request.parent, asked(request))
        return pb.ListLabelSetsResponse(label_sets=map(_message, found), next_page_token=token)

    def ExportLabelSet(self, request: pb.ExportLabelSetRequest, context: _Context) -> Iterator[HttpBody]:
        """See the proto."""
        file_format = _FORMATS.get(request.format, Format.CSV)
        for chunk in self._label_sets.export(request.name, file_format):
            yield HttpBody(content_type=CONTENT_TYPES[file_format], data=chunk)


def _message(label_set: LabelSet) -> pb.LabelSet:
    order = label_set.order
    message = pb.LabelSet(
        name=label_set.name, problem_spec=order.problem_spec, dataset_version=order.dataset_version,
        method=_METHOD_NUMBERS[order.method], method_used=_METHOD_NUMBERS[label_set.method_used], labelers=order.labelers,
        ignore_target_column=order.ignore_target_column, training_rows=label_set.training_rows, gold_rows=label_set.gold_rows,
        holdout_rows=label_set.holdout_rows, coverage=label_set.coverage, conflict=label_set.conflict,
        labeler_summaries=map(_summary, label_set.labeler_summaries),
        class_counts=[
            pb.ClassCount(
                class_name=one.class_name, training_rows=one.training_rows, gold_rows=one.gold_rows,
                holdout_rows=one.holdout_rows,
            )
            for one in label_set.class_counts
        ],
        gold_accuracy=label_set.gold_accuracy, digest=label_set.digest, object_key=label_set.object_key, notes=label_set.notes,
        ledger_position=label_set.ledger_position,
    )  # fmt: skip
    if label_set.created is not None:
        message.create_time.FromDatetime(label_set.created)
    return message


def _summary(one: LabelerSummary) -> pb.LabelerSummary:
    return pb.LabelerSummary(
        labeler=one.labeler, votes=one.votes, coverage=one.coverage, conflict=one.conflict,
        learned_accuracy=one.learned_accuracy, gold_votes=one.gold_votes, gold_accuracy=one.gold_accuracy,
        gold_accuracy_low=one.gold_accuracy_low, gold_accuracy_high=one.gold_accuracy_high,
    )  # fmt: skip
