"""Answers that are compressed where the caller takes it, and those that never are."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.gateway import compressing
from services.gateway.compressing import WORTH_BYTES, compressed

GZIP = {"accept-encoding": "gzip"}


@pytest.fixture(scope="module")
def many_keys(http: httpx.Client, admin: str) -> None:
    for number in range(12):
        body = {"role": "viewer", "projects": ["projects/shop"], "displayName": f"one of many, number {number}"}
        http.post("/v1/keys", json=body, headers={"authorization": f"Bearer {admin}"}).raise_for_status()


def test_a_large_answer_is_compressed_where_the_caller_takes_that_and_else_is_the_same(call, many_keys) -> None:
    small = call("GET", "/v1/keys?order_by=name", headers=GZIP)
    plain = call("GET", "/v1/keys?order_by=name", headers={"accept-encoding": "identity"})
    assert (small.headers["content-encoding"], small.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers and plain.headers["vary"] == "accept-encoding"
    assert small.json()["keys"] == plain.json()["keys"]
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert small.headers["x-request-id"] and small.headers["x-content-type-options"] == "nosniff"


def test_small_answers_streams_and_files_are_sent_as_they_are(call) -> None:
    for path in ("/v1/caller", "/v1/projects/shop/runs/r:watch", "/v1/projects/shop/datasets/d/versions/1:export"):
        answer = call("GET", path, headers=GZIP)
        assert answer.status_code == 200, answer.text
        assert "content-encoding" not in answer.headers, path


def test_of_predictions_only_large_answers_are_compressed(call, world) -> None:
    model = world.champion("squeezed")

    def predict(rows: int) -> httpx.Response:
        return call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "free lunch"}] * rows}, headers=GZIP)

    some = next(answer for rows in range(1, 40) if len((answer := predict(rows)).content) > WORTH_BYTES)
    assert "content-encoding" not in some.headers
    many = predict(100)
    assert many.headers["content-encoding"] == "gzip" and len(many.json()["predictions"]) == 100


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics"])
def test_large_pages_are_compressed_too(http: httpx.Client, path: str) -> None:
    small = http.get(path, headers=GZIP)
    assert (small.status_code, small.headers["content-encoding"], small.headers["vary"]) == (200, "gzip", "accept-encoding")
    assert int(small.headers["content-length"]) < len(small.content) / 3
    assert "content-encoding" not in http.get(path, headers={"accept-encoding": "identity"}).headers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""), ("gzip", "gzip"), ("GZip, deflate, br", "gzip"), ("deflate", "deflate"), ("br, zstd", ""), ("*", "gzip"),
        ("gzip;q=0", ""), ("gzip; q=0.1, deflate; q=0.9", "deflate"), ("gzip;q=0, *", "deflate"), ("*;q=0", ""),
        ("identity;q=1, gzip;q=0.5", "gzip"), ("gzip;q=nonsense", ""), ("gzip;level=9", ""), (",;,", ""),
    ],
)  # fmt: skip
def test_the_coding_is_the_one_that_the_caller_weighs_most(accepted: str, coding: str) -> None:
    content = b'{"a": 1}' * 1000
    sent, headers = asyncio.run(compressed(content, accepted.encode()))
    assert dict(headers).get(b"content-encoding", b"").decode() == coding
    unpack: Any = {"gzip": gzip.decompress, "deflate": zlib.decompress, "": lambda same: same}[coding]
    assert unpack(sent) == content


def test_a_very_large_answer_is_compressed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    async def noted(work: Any, content: bytes, *rest: Any) -> Any:
        sizes.append(len(content))
        return work(content, *rest)

    monkeypatch.setattr(compressing, "asyncio", SimpleNamespace(to_thread=noted))
    for size in (WORTH_BYTES, 1 << 18, (1 << 20) + 1):
        asyncio.run(compressed(b"x" * size, b"gzip"))
    assert sizes == [1 << 18, (1 << 20) + 1]
