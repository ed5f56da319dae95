"""`regrow events` against a real gRPC server whose answers are written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from regrow.gateway.v1 import gateway_pb2

Run = Callable[..., tuple[int, str, str]]


def test_dead_letters_are_shown_with_their_reason_from_all_pages(run: Run, gateway: Any) -> None:
    asked = []

    def listed(request: gateway_pb2.ListDeadLettersRequest) -> gateway_pb2.ListDeadLettersResponse:
        asked.append(request)
        number = len(asked)
        letter = gateway_pb2.DeadLetter(
            topic="regrow.feedback", offset=number, event_id=f"event-{number}", reason="NOPE: so", replayed=number == 2,
            create_time=Timestamp(seconds=1_800_000_000),
        )  # fmt: skip
        return gateway_pb2.ListDeadLettersResponse(dead_letters=[letter], next_page_token="more" if number == 1 else "")

    gateway.on("ListDeadLetters", listed)
    code, out, _ = run("events", "dead-letters", "list", "--topic", "feedback", "--replayed")
    assert (code, asked[0].topic, asked[0].show_replayed, asked[1].page_token) == (0, "regrow.feedback", True, "more")
    assert "event-1" in out and "event-2" in out and "NOPE" in out


def test_no_dead_letters_are_good_news(run: Run, gateway: Any) -> None:
    gateway.on("ListDeadLetters", lambda _: gateway_pb2.ListDeadLettersResponse())
    assert "every event was taken" in run("events", "dead-letters", "list")[1]


def test_a_replay_says_how_many_went_back_where(run: Run, gateway: Any) -> None:
    asked = []

    def replayed(request: gateway_pb2.ReplayDeadLettersRequest) -> gateway_pb2.ReplayDeadLettersResponse:
        asked.append(request)
        return gateway_pb2.ReplayDeadLettersResponse(replayed_count=1234)

    gateway.on("ReplayDeadLetters", replayed)
    code, _, said = run("events", "dead-letters", "replay", "feedback", "--most", "5000")
    assert (code, asked[0].topic, asked[0].max_count) == (0, "regrow.feedback", 5000)
    assert "1,234 events were put back on regrow.feedback." in said


def test_a_dead_letter_is_shown_with_its_payload_which_steers_no_terminal(run: Run, gateway: Any) -> None:
    asked = []

    def shown(request: gateway_pb2.GetDeadLetterRequest) -> gateway_pb2.DeadLetter:
        asked.append(request.name)
        return gateway_pb2.DeadLetter(
            name=request.name, reason="INVALID_FIELD: id", event_id="crm-17", headers={"content-type": "application/json"},
            payload=b"{}", payload_text='{"id": "crm-17\x1b[2J"}',
        )  # fmt: skip

    gateway.on("GetDeadLetter", shown)
    for word in ("0-17", "deadLetters/0-17"):
        code, out, _ = run("events", "dead-letters", "show", word)
        assert (code, asked[-1]) == (0, "deadLetters/0-17")
        assert "INVALID_FIELD: id" in out and "application/json" in out and '{"id": "crm-17' in out and "\x1b" not in out


def test_the_topics_that_a_replay_takes_are_all_named_by_its_help(run: Run) -> None:
    for command in ("list", "replay"):
        _, out, _ = run("events", "dead-letters", command, "--help")
        assert "feedback, feedback.in, predictions, registry or audit" in " ".join(out.replace("│", " ").split())
