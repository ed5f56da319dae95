"""FeedbackLedgerService and RegrowthService: protos in and out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.labeling.v1 import feedback_ledger_pb2 as pb
from regrow.labeling.v1 import feedback_ledger_pb2_grpc as rpc
from services.common.errors import InvalidField, PermissionDenied
from services.common.events.port import FEEDBACK
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.rpc.principal import current_principal
from services.labeling.feedback.handlers import Feedback, Issue, Unmatched
from services.labeling.feedback.regrowth import Regrowth

LEDGER_SERVICE = "regrow.labeling.v1.FeedbackLedgerService"
REGROWTH_SERVICE = "regrow.labeling.v1.RegrowthService"
_FATE = "FEEDBACK_FATE_"


class FeedbackLedgerServicer(rpc.FeedbackLedgerServiceServicer):
    """regrow.labeling.v1.FeedbackLedgerService."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback

    def GetFeedbackStats(self, request: pb.GetFeedbackStatsRequest, context: grpc.ServicerContext) -> pb.FeedbackStats:
        """See the proto."""
        stats = self._feedback.stats(request.parent)
        return pb.FeedbackStats(
            model=request.parent, votes=stats.votes, used=stats.used, unmatched=stats.unmatched, repeated_count=stats.repeated,
            predictions=stats.predictions, lag=stats.lag, prediction_lag=stats.prediction_lag,
            sources=[pb.SourceCount(source=s.source, labeler=s.labeler, votes=s.votes) for s in stats.sources],
            fates=[pb.FateCount(fate=_fate(fate), count=count) for fate, count in sorted(stats.fates.items())],
        )  # fmt: skip

    def ListFeedbackIssues(
        self, request: pb.ListFeedbackIssuesRequest, context: grpc.ServicerContext
    ) -> pb.ListFeedbackIssuesResponse:
        """See the proto."""
        fate = pb.FeedbackFate.Name(request.fate).removeprefix(_FATE) if request.fate else ""
        found, token = self._feedback.issues(request.parent, asked(request), fate=fate)
        return pb.ListFeedbackIssuesResponse(issues=map(_issue, found), next_page_token=token)

    def ListUnmatchedFeedback(
        self, request: pb.ListUnmatchedFeedbackRequest, context: grpc.ServicerContext
    ) -> pb.ListUnmatchedFeedbackResponse:
        """See the proto."""
        found, token = self._feedback.unmatched(request.parent, asked(request))
        return pb.ListUnmatchedFeedbackResponse(feedback=map(_unmatched, found), next_page_token=token)


class RegrowthServicer(rpc.RegrowthServiceServicer):
    """regrow.labeling.v1.RegrowthService, for services alone."""

    def __init__(self, regrowth: Regrowth, feedback: Feedback) -> None:
        self._regrowth = regrowth
        self._feedback = feedback

    def CutLabelSet(self, request: pb.CutLabelSetRequest, context: grpc.ServicerContext) -> pb.CutLabelSetResponse:
        """See the proto."""
        _check_service()
        offsets: dict[tuple[str, int], int] = {}
        for index, position in enumerate(request.offsets):
            if position.topic != FEEDBACK or position.partition < 0 or position.offset < 0:
                raise InvalidField(
                    f"offsets[{index}]", f"isn't a place on '{FEEDBACK}': topic, partition and offset are needed."
                )
            offsets[position.topic, position.partition] = position.offset
        cut = self._regrowth.cut(
            request.model, request.base_label_set, offsets, request_id=request.request_id, fingerprint=fingerprint(request)
        )
        return pb.CutLabelSetResponse(
            label_set=cut.label_set, dataset_version=cut.dataset_version, feedback_votes=cut.feedback_votes,
            appended_rows=cut.appended_rows,
        )  # fmt: skip

    def ListAppliedEvents(
        self, request: pb.ListAppliedEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListAppliedEventsResponse:
        """See the proto."""
        _check_service()
        ledger, unmatched = self._feedback.applied_events(request.model)
        return pb.ListAppliedEventsResponse(ledger_event_ids=ledger, unmatched_event_ids=unmatched)


def _check_service() -> None:
    if current_principal().role != "service":
        raise PermissionDenied("RegrowthService is for Regrow's own services. Use PolicyService.TriggerRegrowth instead.")


def _fate(name: str) -> Any:
    return pb.FeedbackFate.Value(_FATE + name)


def _issue(found: Issue) -> pb.FeedbackIssue:
    return pb.FeedbackIssue(
        event_id=found.event_id, source=found.source, prediction=found.prediction, class_names=found.classes,
        fate=_fate(found.fate), other_source=found.other_source, other_class_names=found.other_classes,
        observe_time=_timestamp(found.observed), accept_time=_timestamp(found.accepted),
    )  # fmt: skip


def _timestamp(time: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made


def _unmatched(found: Unmatched) -> pb.UnmatchedFeedback:
    return pb.UnmatchedFeedback(
        event_id=found.event_id, prediction=found.prediction, source=found.source, class_names=found.classes,
        reason=found.reason, accept_time=_timestamp(found.accepted),
    )  # fmt: skip
