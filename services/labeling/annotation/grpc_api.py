"""AnnotationService: protos in and out."""

from __future__ import annotations

from typing import Any

import grpc

from regrow.labeling.v1 import annotation_pb2 as pb
from regrow.labeling.v1 import annotation_pb2_grpc, datasets_pb2
from regrow.labeling.v1.votes_pb2 import Vote
from services.common.errors import InvalidField
from services.common.rpc.principal import current_principal
from services.labeling.annotation.handlers import Annotation, Question, Strategy
from services.labeling.votes.grpc_api import drawn_message, drawn_of, vote_message

SERVICE = "regrow.labeling.v1.AnnotationService"

_MOST_ROWS = 100
_STRATEGIES = {
    pb.ROW_STRATEGY_UNSPECIFIED: Strategy.RANDOM,
    pb.ROW_STRATEGY_RANDOM: Strategy.RANDOM,
    pb.ROW_STRATEGY_MARGIN: Strategy.MARGIN,
}


class AnnotationServicer(annotation_pb2_grpc.AnnotationServiceServicer):
    """regrow.labeling.v1.AnnotationService. Who answers is, where not said, the caller's key name."""

    def __init__(self, annotation: Annotation) -> None:
        self._annotation = annotation

    def NextRows(self, request: pb.NextRowsRequest, context: grpc.ServicerContext) -> pb.NextRowsResponse:
        """See the proto."""
        if not 0 <= request.count <= _MOST_ROWS:
            raise InvalidField("count", f"must be 0 to {_MOST_ROWS}; 0 means 1.")
        if request.strategy not in _STRATEGIES:
            raise InvalidField("strategy", f"{request.strategy} isn't a strategy. Use RANDOM or MARGIN.")
        questions = self._annotation.next_rows(
            request.parent, problem_spec=request.problem_spec, labeler=request.labeler, annotator=_annotator(request.annotator),
            strategy=_STRATEGIES[request.strategy], count=request.count or 1,
            holdout=request.holdout if request.HasField("holdout") else None,
        )  # fmt: skip
        return pb.NextRowsResponse(rows=map(_row, questions.rows), note=questions.note)

    def SubmitAnnotation(self, request: pb.SubmitAnnotationRequest, context: grpc.ServicerContext) -> Vote:
        """See the proto."""
        if not request.HasField("row"):
            raise InvalidField("row", "is missing: send the number of the row that this labels.")
        vote = self._annotation.submit(
            request.parent, labeler=request.labeler, row=request.row, classes=list(request.class_names),
            annotator=_annotator(request.annotator), drawn=drawn_of(request.drawn, "drawn"),
        )  # fmt: skip
        return vote_message(vote)

    def UndoAnnotation(self, request: pb.UndoAnnotationRequest, context: grpc.ServicerContext) -> Vote:
        """See the proto."""
        vote = self._annotation.undo(request.parent, labeler=request.labeler, annotator=_annotator(request.annotator))
        return vote_message(vote)

    def GetAnnotationProgress(
        self, request: pb.GetAnnotationProgressRequest, context: grpc.ServicerContext
    ) -> pb.AnnotationProgress:
        """See the proto."""
        progress = self._annotation.progress(request.parent, labeler=request.labeler)
        return pb.AnnotationProgress(
            rows=progress.rows,
            answered_rows=progress.answered_rows,
            annotators=[pb.AnnotatorCount(annotator=name, rows=rows) for name, rows in progress.annotators],
            classes=[
                pb.AnswerCount(class_name=name, training_rows=training, holdout_rows=holdout)
                for name, training, holdout in progress.classes
            ],
        )


def _annotator(named: str) -> str:
    principal = current_principal()
    return named or principal.name or principal.key_id


def _row(question: Question) -> pb.RowToLabel:
    row = datasets_pb2.Row(name=f"{question.dataset}/rows/{question.row}", number=question.row, holdout=question.holdout)
    row.values.update(dict[str, Any](question.values))
    return pb.RowToLabel(row=row, drawn=drawn_message(question.drawn), why=question.why)
