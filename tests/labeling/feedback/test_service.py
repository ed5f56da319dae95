"""Votes, human labels and feedback over gRPC, on a running labeling service."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import grpc
import pytest

from regrow.labeling.v1 import annotation_pb2, feedback_ledger_pb2, label_sets_pb2, votes_pb2
from regrow.labeling.v1.annotation_pb2_grpc import AnnotationServiceStub
from regrow.labeling.v1.feedback_ledger_pb2_grpc import FeedbackLedgerServiceStub, RegrowthServiceStub
from regrow.labeling.v1.label_sets_pb2_grpc import LabelSetServiceStub
from regrow.labeling.v1.votes_pb2_grpc import VoteServiceStub
from services.common.errors import Cancelled, FailedPrecondition, InvalidFields, NotFound, PermissionDenied, Unavailable
from services.common.rpc.client import internal_channel
from services.common.rpc.principal import Principal
from services.labeling.app import start
from services.labeling.settings import LabelingSettings

MODEL = "projects/shop/models/spam"
LABELER = Principal(key_id="k1", role="labeler", projects=("shop",), name="ann")


@pytest.fixture
def port(world):
    settings = LabelingSettings(
        data_dir=world.folder, database_url=world.url, labeling_address="127.0.0.1:0", internal_token="secret"
    )
    server = start(settings)
    yield server.port
    server.stop(0)


@pytest.fixture
def channel(port):
    with internal_channel(f"127.0.0.1:{port}", token="secret", service="labeling") as channel:
        yield channel


@pytest.fixture
def labeler_channel(port):
    with internal_channel(f"127.0.0.1:{port}", token="secret", principal=LABELER, service="labeling") as channel:
        yield channel


def vote(row, class_name="ham", labeler="projects/shop/labelers/crowd", **more):
    return votes_pb2.Vote(row=row, class_names=[class_name], labeler=labeler, **more)


def test_votes_are_streamed_listed_and_retracted(world, channel):
    votes = VoteServiceStub(channel)
    messages = [votes_pb2.WriteVotesRequest(parent=world.dataset, votes=[vote(1), vote(2, drawn=votes_pb2.DRAWN_RANDOM)])] * 2
    answer = votes.WriteVotes(iter(messages))
    assert (answer.written, answer.repeated_count) == (2, 2)
    newest, oldest = votes.ListVotes(votes_pb2.ListVotesRequest(parent=world.dataset)).votes
    assert (newest.row, newest.drawn, newest.confidence) == (2, votes_pb2.DRAWN_RANDOM, 1.0)
    request = votes_pb2.RetractVotesRequest(parent=world.dataset, votes=[oldest.name, newest.name])
    assert votes.RetractVotes(request).retracted == 2
    assert votes.RetractVotes(request).retracted == 0
    assert all(v.HasField("retract_time") for v in votes.ListVotes(votes_pb2.ListVotesRequest(parent=world.dataset)).votes)


def test_a_wrong_vote_is_named_over_the_wire(world, channel):
    votes = VoteServiceStub(channel)
    wrong = votes_pb2.WriteVotesRequest(parent=world.dataset, votes=[vote(1), vote(99), vote(2, "egg")])
    with pytest.raises(InvalidFields) as caught:
        votes.WriteVotes(iter([wrong]))
    assert {problem.field for problem in caught.value.problems} == {"votes[1].row", "votes[2].class_names"}
    with pytest.raises(NotFound):
        nobody = vote(1, labeler="projects/shop/labelers/nobody")
        votes.WriteVotes(iter([votes_pb2.WriteVotesRequest(parent=world.dataset, votes=[nobody])]))
    assert not votes.ListVotes(votes_pb2.ListVotesRequest(parent=world.dataset)).votes


def test_a_person_labels_under_the_name_of_the_key(world, labeler_channel):
    annotation = AnnotationServiceStub(labeler_channel)
    following = annotation_pb2.NextRowsRequest(parent=world.dataset, problem_spec=world.spec, labeler=world.human, count=2)
    row = annotation.NextRows(following).rows[0]
    assert "label" not in row.row.values
    assert row.drawn == votes_pb2.DRAWN_RANDOM
    submitted = annotation.SubmitAnnotation(
        annotation_pb2.SubmitAnnotationRequest(
            parent=world.dataset, labeler=world.human, row=row.row.number, class_names=["spam"], drawn=row.drawn
        )
    )
    assert (submitted.annotator, submitted.gold) == ("ann", True)
    progress = annotation.GetAnnotationProgress(
        annotation_pb2.GetAnnotationProgressRequest(parent=world.dataset, labeler=world.human)
    )
    assert (progress.rows, progress.answered_rows, progress.annotators[0].annotator) == (60, 1, "ann")
    undo = annotation_pb2.UndoAnnotationRequest(parent=world.dataset, labeler=world.human)
    assert annotation.UndoAnnotation(undo).name == submitted.name
    with pytest.raises(FailedPrecondition):
        annotation.UndoAnnotation(undo)


def test_feedback_flows_from_the_log_into_a_new_label_set(world, production, channel, labeler_channel):
    ledger = FeedbackLedgerServiceStub(labeler_channel)
    VoteServiceStub(channel).WriteVotes(iter([votes_pb2.WriteVotesRequest(parent=world.dataset, votes=[vote(1), vote(2)])]))
    wanted = label_sets_pb2.LabelSet(problem_spec=world.spec)
    base = LabelSetServiceStub(channel).CreateLabelSet(
        label_sets_pb2.CreateLabelSetRequest(parent=world.dataset, label_set_id="base", label_set=wanted)
    )
    production.label("early", "p0")
    production.predict("p0")
    production.label("wrong", "p0", ("egg",))
    cut = _cut_when_applied(channel, production, base.name)
    assert (cut.appended_rows, cut.feedback_votes, cut.dataset_version) == (1, 1, f"{world.dataset}/versions/2")
    stats = ledger.GetFeedbackStats(feedback_ledger_pb2.GetFeedbackStatsRequest(parent=MODEL))
    assert (stats.votes, stats.used, stats.unmatched, stats.predictions, stats.lag) == (1, 1, 1, 1, 0)
    unmatched = ledger.ListUnmatchedFeedback(feedback_ledger_pb2.ListUnmatchedFeedbackRequest(parent=MODEL)).feedback
    assert [(found.event_id, found.reason) for found in unmatched] == [("wrong", "UNKNOWN_CLASS")]
    with pytest.raises(PermissionDenied):
        RegrowthServiceStub(labeler_channel).ListAppliedEvents(feedback_ledger_pb2.ListAppliedEventsRequest(model=MODEL))


def _cut_when_applied(channel, production, base):
    request = _cut_request(production, base, "r1")
    for _ in range(200):
        try:
            return RegrowthServiceStub(channel).CutLabelSet(request)
        except FailedPrecondition as error:
            assert error.reason in ("NOT_APPLIED_YET", "NO_FEEDBACK")
            time.sleep(0.05)
    raise AssertionError("the consumer never caught up")


def _cut_request(production, base, request_id):
    offsets = [
        feedback_ledger_pb2.PartitionOffset(topic=topic, partition=partition, offset=offset)
        for (topic, partition), offset in production.ends().items()
    ]
    return feedback_ledger_pb2.CutLabelSetRequest(model=MODEL, base_label_set=base, offsets=offsets, request_id=request_id)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_loses_no_event_and_appends_no_row_twice(world, production, base_label_set):
    """kill -9 while it applies and cuts: in the end each event is in the ledger or unmatched, once, and each row there once."""
    dice = random.Random(7)
    events, requests = 0, []
    for turn in range(4):
        for _ in range(100):
            if events % 10:
                production.predict(f"p{events}")
            production.label(f"e{events}", f"p{events}")
            events += 1
        requests.append(_cut_request(production, base_label_set, f"r{turn}"))
        with _process(world) as channel:
            grpc.channel_ready_future(channel).result(30)
            _try_to_cut(channel, requests[-1], seconds=1.5 * dice.random())
    with _process(world) as channel:
        outcomes = [_try_to_cut(channel, request, seconds=60) for request in requests]
        assert None not in outcomes
        applied = RegrowthServiceStub(channel).ListAppliedEvents(feedback_ledger_pb2.ListAppliedEventsRequest(model=MODEL))
    ledger, unmatched = list(applied.ledger_event_ids), list(applied.unmatched_event_ids)
    assert sorted(ledger + unmatched) == sorted(f"e{n}" for n in range(events))
    assert set(unmatched) == {f"e{n}" for n in range(0, events, 10)}
    assert world.datasets.version(world.dataset).row_count == 60 + len(ledger)
    assert sum(cut.appended_rows for cut in outcomes) == len(ledger)
    assert outcomes[-1].feedback_votes == len(ledger)


def _try_to_cut(channel, request, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return RegrowthServiceStub(channel).CutLabelSet(request, timeout=max(0.1, end - time.monotonic()))
        except (FailedPrecondition, Unavailable, Cancelled) as error:
            if error.reason == "CUT_BEHIND":  # killed before it began; a later cut has counted what this one would have
                return feedback_ledger_pb2.CutLabelSetResponse()
            time.sleep(0.02)
    return None


@contextmanager
def _process(world):
    """The service as a process of its own, killed at the end of the block; yields its channel."""
    address = f"127.0.0.1:{_free_port()}"
    settings = {
        "DATA_DIR": str(world.folder), "LABELING_DATABASE_URL": world.url, "LABELING_ADDRESS": address,
        "INTERNAL_TOKEN": "secret",
    }  # fmt: skip
    environment = os.environ | {f"REGROW_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "services.labeling"], env=environment, stderr=subprocess.DEVNULL)
    try:
        with internal_channel(address, token="secret", service="labeling") as channel:
            yield channel
    finally:
        process.kill()
        process.wait()


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
