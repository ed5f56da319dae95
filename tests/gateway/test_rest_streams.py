"""Answers that stream over REST, and callers who leave."""

from __future__ import annotations

import json
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest


def test_events_come_as_one_json_object_a_line(call) -> None:
    answer = call("GET", "/v1/projects/shop/runs/r:watch?after_sequence=1")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["message"] for line in answer.text.splitlines()] == ["step 2", "step 3"]


def test_events_come_as_server_sent_events_where_asked_and_go_on_where_they_were(call) -> None:
    answer = call("GET", "/v1/projects/shop/runs/r:watch", headers={"accept": "text/event-stream", "last-event-id": "2"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("id: 3\ndata: {")
    assert json.loads(answer.text.split("data: ")[1])["sequence"] == "3"


def test_an_error_before_the_first_event_is_an_ordinary_error(call, error) -> None:
    answer = call("GET", "/v1/projects/shop/runs/missing:watch")
    assert (answer.status_code, error(answer)["status"]) == (404, "NOT_FOUND")


def test_an_error_after_events_is_the_last_line_or_event(call) -> None:
    lines = call("GET", "/v1/projects/shop/runs/fails:watch").text.splitlines()
    assert len(lines) == 4
    assert json.loads(lines[-1])["error"]["status"] == "NOT_FOUND"
    events = call("GET", "/v1/projects/shop/runs/fails:watch", headers={"accept": "text/event-stream"}).text
    assert "event: error\ndata: {" in events


def test_events_arrive_while_the_stream_goes_on_and_leaving_ends_it_behind(gateway, admin, world) -> None:
    world.recorder.cancelled = threading.Event()
    headers = {"authorization": f"Bearer {admin}"}
    with httpx.stream("GET", f"{gateway.http}/v1/projects/shop/runs/endless:watch", headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        assert [json.loads(next(lines))["sequence"] for _ in range(3)] == ["1", "2", "3"]
    assert world.recorder.cancelled.wait(30)


def test_a_file_comes_as_bytes_with_its_own_content_type(call) -> None:
    answer = call("GET", "/v1/projects/shop/datasets/d/versions/1:export")
    assert answer.headers["content-type"] == "text/csv"
    assert answer.content == b"row 0\nrow 1\nrow 2\n"
    assert call("GET", "/v1/projects/shop/datasets/missing/versions/1:export").status_code == 404


def test_a_file_that_breaks_in_the_middle_never_looks_whole(call) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        call("GET", "/v1/projects/shop/datasets/torn/versions/1:export")


def _send_and_leave(gateway, admin: str, head: str, body: bytes = b"", wait: threading.Event | None = None) -> None:
    address = urlsplit(gateway.http)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\n".encode() + body)
        if wait is not None:
            assert wait.wait(30)
        time.sleep(0.1)


def test_a_caller_who_leaves_before_the_answer_cancels_the_call_behind(gateway, admin, world) -> None:
    world.recorder.cancelled, world.recorder.streaming = threading.Event(), threading.Event()
    _send_and_leave(gateway, admin, "GET /v1/projects/shop/datasets/slow", b"\r\n", world.recorder.streaming)
    assert world.recorder.cancelled.wait(30)


def test_a_caller_who_leaves_in_the_middle_of_an_upload_cancels_it(gateway, admin, world) -> None:
    world.recorder.cancelled = threading.Event()
    body = b"content-length: 10000000\r\n\r\n" + b"x" * 500_000
    _send_and_leave(gateway, admin, "POST /v1/projects/shop/datasets:import?dataset_id=torn", body)
    assert world.recorder.cancelled.wait(30)


def test_an_unknown_failure_says_only_an_id(call, error) -> None:
    answer = call("GET", "/v1/projects/shop/datasets/broken")
    assert answer.status_code == 500
    assert "passwd" not in answer.text
    assert error(answer)["reason"] == "INTERNAL"


def test_an_error_has_the_shape_of_aip_193_with_the_request_id(call) -> None:
    answer = call("GET", "/v1/projects/shop/datasets/missing", headers={"x-request-id": "r-9"})
    found = answer.json()["error"]
    assert (found["code"], found["status"]) == (404, "NOT_FOUND")
    kinds = {detail["@type"].rpartition("/")[2]: detail for detail in found["details"]}
    assert kinds["google.rpc.ErrorInfo"]["domain"] == "regrow.dev"
    assert kinds["google.rpc.RequestInfo"]["requestId"] == "r-9"
