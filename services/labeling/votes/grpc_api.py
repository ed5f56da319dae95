"""VoteService: protos in and out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.labeling.v1 import votes_pb2 as pb
from regrow.labeling.v1 import votes_pb2_grpc
from services.common.database import Database
from services.common.errors import InvalidField
from services.common.listing import asked
from services.labeling.votes import handlers
from services.labeling.votes.rules import Drawn, KeptVote, NewVote

SERVICE = "regrow.labeling.v1.VoteService"

_TO_DRAWN = {
    pb.DRAWN_UNSPECIFIED: Drawn.FOUND,
    pb.DRAWN_RANDOM: Drawn.RANDOM,
    pb.DRAWN_GUIDED: Drawn.GUIDED,
    pb.DRAWN_FOUND: Drawn.FOUND,
}
_FROM_DRAWN = {Drawn.RANDOM: pb.DRAWN_RANDOM, Drawn.GUIDED: pb.DRAWN_GUIDED, Drawn.FOUND: pb.DRAWN_FOUND}


class VoteServicer(votes_pb2_grpc.VoteServiceServicer):
    """The ledger's door."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def WriteVotes(
        self, request_iterator: Iterator[pb.WriteVotesRequest], context: grpc.ServicerContext
    ) -> pb.WriteVotesResponse:
        """See the proto. Each message is one transaction."""
        written = repeated = 0
        for request in request_iterator:
            votes = [_new_vote(index, vote) for index, vote in enumerate(request.votes)]
            with self._database.session() as session:
                result = handlers.write_votes(session, request.parent, votes)
            written += result.written
            repeated += result.repeated
        return pb.WriteVotesResponse(written=written, repeated_count=repeated)

    def ListVotes(self, request: pb.ListVotesRequest, context: grpc.ServicerContext) -> pb.ListVotesResponse:
        """See the proto."""
        with self._database.reading() as session:
            page = handlers.list_votes(
                session, request.parent, asked(request), labeler=request.labeler,
                row=request.row if request.HasField("row") else None,
            )  # fmt: skip
        return pb.ListVotesResponse(votes=[vote_message(vote) for vote in page.votes], next_page_token=page.next_page_token)

    def RetractVotes(self, request: pb.RetractVotesRequest, context: grpc.ServicerContext) -> pb.RetractVotesResponse:
        """See the proto."""
        with self._database.session() as session:
            retracted = handlers.retract_votes(session, request.parent, list(request.votes), why=request.why)
        return pb.RetractVotesResponse(retracted=retracted)


def vote_message(vote: KeptVote) -> pb.Vote:
    """A ledger entry as callers see it."""
    message = pb.Vote(
        name=f"{vote.dataset}/votes/{vote.position}", labeler=vote.labeler, class_names=vote.classes, against=vote.against,
        confidence=vote.confidence, gold=vote.gold, drawn=drawn_message(vote.drawn), annotator=vote.annotator,
        vote_id=vote.vote_id, create_time=_timestamp(vote.created), prediction=vote.prediction,
    )  # fmt: skip
    if vote.row is not None:
        message.row = vote.row
    if vote.retracted is not None:
        message.retract_time.CopyFrom(_timestamp(vote.retracted))
    return message


def drawn_of(value: pb.Drawn, field: str) -> Drawn:
    """How a row was drawn; not said means found. Raises `InvalidField`."""
    if value not in _TO_DRAWN:
        raise InvalidField(field, f"{value} isn't a way that rows are drawn. Use RANDOM, GUIDED or FOUND.")
    return _TO_DRAWN[value]


def drawn_message(drawn: Drawn) -> pb.Drawn:
    """Inverse of `drawn_of`."""
    return _FROM_DRAWN[drawn]


def _new_vote(index: int, vote: pb.Vote) -> NewVote:
    if not vote.HasField("row"):
        raise InvalidField(f"votes[{index}].row", "is missing: say which row the vote is about.")
    return NewVote(
        row=vote.row, labeler=vote.labeler, classes=tuple(vote.class_names), against=vote.against,
        confidence=vote.confidence or 1.0, drawn=drawn_of(vote.drawn, f"votes[{index}].drawn"), annotator=vote.annotator,
        vote_id=vote.vote_id,
    )  # fmt: skip


def _timestamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
