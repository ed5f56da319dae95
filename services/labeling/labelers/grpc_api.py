"""The gRPC edge of labelers."""

from __future__ import annotations

import grpc

from regrow.labeling.v1 import labelers_pb2 as pb
from regrow.labeling.v1 import labelers_pb2_grpc as rpc
from services.common.errors import InvalidField
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.labeling.labelers.handlers import Labelers
from services.labeling.labelers.previewing import Example, Preview, Previewing
from services.labeling.labelers.rules import (
    ColumnValue,
    Definition,
    Feedback,
    Human,
    Imported,
    Keyword,
    Labeler,
    Regex,
    Sql,
    definition_fields,
)

SERVICE = "regrow.labeling.v1.LabelerService"
_Context = grpc.ServicerContext


class LabelerServicer(rpc.LabelerServiceServicer):
    """regrow.labeling.v1.LabelerService."""

    def __init__(self, labelers: Labelers, previewing: Previewing) -> None:
        self._labelers = labelers
        self._previewing = previewing

    def CreateLabeler(self, request: pb.CreateLabelerRequest, context: _Context) -> pb.Labeler:
        """See the proto."""
        made = self._labelers.create(
            request.parent, request.labeler_id, _labeler(request.labeler), request_id=request.request_id,
            fingerprint=fingerprint(request),
        )  # fmt: skip
        return _message(made)

    def PreviewLabeler(self, request: pb.PreviewLabelerRequest, context: _Context) -> pb.PreviewLabelerResponse:
        """See the proto."""
        preview = self._previewing.preview(
            request.parent, _labeler(request.labeler), dataset_version=request.dataset_version, row_limit=request.row_limit
        )
        return pb.PreviewLabelerResponse(
            rows=preview.rows, votes=preview.votes, gold_votes=preview.gold_votes, gold_right=preview.gold_right,
            examples=[_example(preview, one) for one in preview.examples], warnings=preview.warnings,
        )  # fmt: skip

    def GetLabeler(self, request: pb.GetLabelerRequest, context: _Context) -> pb.Labeler:
        """See the proto."""
        return _message(self._labelers.get(request.name))

    def ListLabelers(self, request: pb.ListLabelersRequest, context: _Context) -> pb.ListLabelersResponse:
        """See the proto."""
        found, token = self._labelers.list_labelers(
            request.parent, asked(request), problem_spec=request.problem_spec, retired=request.show_retired
        )
        return pb.ListLabelersResponse(labelers=map(_message, found), next_page_token=token)

    def RetireLabeler(self, request: pb.RetireLabelerRequest, context: _Context) -> pb.Labeler:
        """See the proto."""
        return _message(self._labelers.retire(request.name))

    def ApplyLabelers(self, request: pb.ApplyLabelersRequest, context: _Context) -> pb.ApplyLabelersResponse:
        """See the proto."""
        version, outcomes = self._labelers.apply(
            request.parent, request.dataset_version, list(request.labelers), request.problem_spec
        )
        return pb.ApplyLabelersResponse(
            dataset_version=version.name,
            outcomes=[
                pb.LabelerOutcome(labeler=one.labeler, votes=one.votes, reused=one.reused, problem=one.problem)
                for one in outcomes
            ],
        )


def _labeler(message: pb.Labeler) -> Labeler:
    return Labeler(name="", problem_spec=message.problem_spec, definition=_definition(message), description=message.description)


def _definition(message: pb.Labeler) -> Definition:
    match message.WhichOneof("definition"):
        case "keyword":
            k = message.keyword
            return Keyword(
                column=k.column, keywords=tuple(k.keywords), class_name=k.class_name, within_words=k.within_words,
                case_sensitive=k.case_sensitive, against=k.against,
            )  # fmt: skip
        case "regex":
            r = message.regex
            return Regex(
                column=r.column, pattern=r.pattern, class_name=r.class_name, case_sensitive=r.case_sensitive, against=r.against
            )
        case "sql":
            return Sql(expression=message.sql.expression, class_name=message.sql.class_name)
        case "column":
            return ColumnValue(column=message.column.column, value_classes=dict(message.column.value_classes))
        case "imported":
            return Imported(origin=message.imported.origin)
        case "human":
            return Human(gold=message.human.gold)
        case "feedback":
            return Feedback(source=message.feedback.source)
    kinds = "keyword, regex, sql, column, imported or human"
    raise InvalidField("labeler.definition", f"is missing: say how it votes by one of {kinds}.")


def _message(labeler: Labeler) -> pb.Labeler:
    message = pb.Labeler(
        name=labeler.name, problem_spec=labeler.problem_spec, description=labeler.description,
        **{labeler.kind: definition_fields(labeler.definition)},
    )  # fmt: skip
    if labeler.created is not None:
        message.create_time.FromDatetime(labeler.created)
    if labeler.retired is not None:
        message.retire_time.FromDatetime(labeler.retired)
    return message


def _example(preview: Preview, example: Example) -> pb.VoteExample:
    return pb.VoteExample(
        row=preview.version.row_name(example.row), class_name=example.class_name, excerpt=example.excerpt,
        gold_class_name=example.gold,
    )  # fmt: skip
