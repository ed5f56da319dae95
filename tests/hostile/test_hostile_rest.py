"""Every public route over REST: hostile paths, queries, bodies and headers: no 5xx by accident, no hang, no leaked text."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Iterator
from functools import reduce
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from good_requests import INFER_JSON, METHODS, expected, good_request
from google.protobuf import json_format
from hostile_system import System, services_below, unexpected
from hostile_values import BODIES, JSON_VALUES, TEXTS, some

from services.gateway.methods import Method
from services.gateway.oip.methods import INFER
from services.gateway.routes import compile_template

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 20.0
ROUTES = [(method, number) for method in METHODS.values() for number in range(len(method.bindings))]
NAMED = [f"{method.name}-{number}" for method, number in ROUTES]
HOLE = "a hole"


@pytest.fixture(scope="module")
def http(system: System) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {system.local.admin_key}"}
    with httpx.Client(base_url=system.local.url, timeout=SECONDS, headers=headers) as client:
        yield client


def check(system: System, answer: httpx.Response, what: str, sent: str = "") -> None:
    path = answer.request.url.path
    on_purpose = (answer.status_code == 501 and path.startswith("/v2/")) or (
        answer.status_code == 503 and path.endswith("/ready")
    )
    assert answer.status_code < 500 or on_purpose, (what, answer.status_code, answer.text[:300])
    if answer.status_code >= 400:
        assert not (leak := system.problem(answer.text, sent=sent)), (what, leak)
        error = {} if path.endswith("/ready") and on_purpose else answer.json()["error"]
        assert error if isinstance(error, str) else error.get("message", on_purpose), what


def path_of(method: Method, number: int, segment: str) -> str:
    template = compile_template(method.bindings[number].template)
    path = "/" + "/".join(segment if one == "*" else one for one in template.segments)
    return path + (f":{template.verb}" if template.verb else "")


def real_path(method: Method, number: int, system: System) -> str:
    """Of a good request: about things that exist, but where something would be removed."""
    template = compile_template(method.bindings[number].template)
    if template.segments[0] == "v2":
        names = iter(["nobody" if "Unload" in method.name else "mail", "1"])
    else:
        request: Any = good_request(method, system.names)
        variable = method.bindings[number].template.partition("{")[2].partition("=")[0]
        name = reduce(getattr, variable.split("."), request) if variable else ""
        names = iter([*str(name).split("/")[1::2], "champion" if "aliases" in template.segments else "1"])
    path = "/" + "/".join(next(names, "1") if one == "*" else one for one in template.segments)
    return path + (f":{template.verb}" if template.verb else "")


def good_body(method: Method, number: int, system: System) -> dict[str, Any]:
    """The body of a good request as JSON."""
    if method.path == INFER:
        return INFER_JSON
    body = method.bindings[number].body
    whole = json_format.MessageToDict(good_request(method, system.names))
    if body != "*":
        found: dict[str, Any] = whole.get(json_name(body), {})
        return found
    return {name: value for name, value in whole.items() if name not in path_fields(method, number)}


def good_query(method: Method, number: int, system: System) -> dict[str, Any]:
    """What of a good request is neither in the body nor in the path."""
    body = method.bindings[number].body
    whole = json_format.MessageToDict(good_request(method, system.names))
    others = {*path_fields(method, number), json_name(body)}
    return {} if body == "*" else {name: value for name, value in whole.items() if name not in others}


def path_fields(method: Method, number: int) -> set[str]:
    return {json_name(path) for path, _, _ in compile_template(method.bindings[number].template).variables}


def json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(one.title() for one in others)


def hostile_bodies(good: Any, place: str) -> Iterator[tuple[str, str]]:
    """The body with one value after the other replaced by a hostile JSON text, and that text."""
    for path in places(good):
        for value in some(JSON_VALUES, 6, f"{place} {path}"):
            yield json.dumps(replaced(good, path)).replace(json.dumps(HOLE), value), value


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def replaced(value: Any, path: tuple[Any, ...]) -> Any:
    """The value with a hole at the place."""
    if not path:
        return HOLE
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:])
    return copied


@pytest.mark.parametrize(("method", "number"), ROUTES, ids=NAMED)
def test_no_path_breaks_anything(http: httpx.Client, system: System, method: Method, number: int) -> None:
    verb = method.bindings[number].verb
    for text in some(TEXTS[1:], 3, method.path):
        path = path_of(method, number, quote(text[:2000], safe=""))
        check(system, http.request(verb, path), path[:100], text)
    for segment in some(("..", ".", "%2e%2e", "%", "%zz", "%ff", "%00", "a%2fb", "~", "*", "-"), 3, method.path):
        check(system, http.request(verb, path_of(method, number, segment)), segment)


@pytest.mark.parametrize(("method", "number"), ROUTES, ids=NAMED)
def test_no_query_breaks_anything(http: httpx.Client, system: System, method: Method, number: int) -> None:
    verb, path = method.bindings[number].verb, real_path(method, number, system)
    if verb not in ("GET", "DELETE") and not method.upload_field:
        return
    fields = [field.name for field in method.request.DESCRIPTOR.fields]
    for name in (*fields, "nonsense", "a.b.c", "", "\0"):
        for value in some((*TEXTS, *JSON_VALUES), 4, f"{method.path} {name}"):
            query = f"{quote(name)}={quote(value[:4000])}"
            if len(query) < 15_000:
                check(system, http.request(verb, f"{path}?{query}"), query[:100], value)
    for query in ("&" * 600, "a=1&" * 600, "%ff=%ff", "=", "?", "page_size=1&page_size=2", "page_token=" + "x" * 5_000):
        check(system, http.request(verb, f"{path}?{query}"), query[:50])


@pytest.mark.parametrize(("method", "number"), ROUTES, ids=NAMED)
def test_no_body_breaks_anything(http: httpx.Client, system: System, method: Method, number: int) -> None:
    verb, path = method.bindings[number].verb, real_path(method, number, system)
    if verb in ("GET", "DELETE"):
        for body in (b"{}", b"x"):
            check(system, http.request(verb, path, content=body), "a body where none belongs")
        return
    kinds = [{}] if not method.streams_responses or not method.streams_requests else [
        {"content-type": kind} for kind in ("application/json", "text/csv", "application/x-ndjson", "text/html", "")
    ]  # fmt: skip
    for headers in kinds:
        for what, body in some(list(BODIES.items()), 4, f"{method.path} {headers}"):
            check(
                system,
                http.request(verb, path, content=body, headers=headers),
                f"{headers} {what}",
                body[:1000].decode("latin-1"),
            )


@pytest.mark.parametrize(("method", "number"), ROUTES, ids=NAMED)
def test_the_bodies_that_hostile_ones_are_made_from_are_good(
    http: httpx.Client, system: System, method: Method, number: int
) -> None:
    binding = method.bindings[number]
    if not binding.body or method.upload_field or expected(method) != "OK":
        return
    headers = {"content-type": "application/json"}
    answer = http.request(
        binding.verb,
        real_path(method, number, system),
        params=good_query(method, number, system),
        json=good_body(method, number, system),
        headers=headers,
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("method", "number"), ROUTES, ids=NAMED)
def test_no_json_value_of_any_field_breaks_anything(http: httpx.Client, system: System, method: Method, number: int) -> None:
    binding, path = method.bindings[number], real_path(method, number, system)
    if not binding.body or method.upload_field:
        return
    good = good_body(method, number, system)
    descriptor = method.request.DESCRIPTOR
    if binding.body != "*":
        descriptor = descriptor.fields_by_name[binding.body].message_type
    unset = {field.json_name: None for field in descriptor.fields} if method.path != INFER else {}
    for body, value in hostile_bodies({**unset, **good}, method.path):
        headers, query = {"content-type": "application/json"}, good_query(method, number, system)
        answer = http.request(binding.verb, path, params=query, content=body.encode(), headers=headers)
        check(system, answer, body[:80], value)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"}, {"content-encoding": "br"}, {"content-type": "text/xml"}, {"content-type": "\x7f"},
        {"content-type": "multipart/form-data; boundary=x"}, {"accept": "text/event-stream"},
        {"authorization": "Basic eDp4"}, {"authorization": "Bearer " + "x" * 20_000}, {"authorization": ""},
        {"x-request-id": "../../etc/passwd"}, {"traceparent": "x" * 1000}, {"last-event-id": "-1"}, {"expect": "100-continue"},
        {"origin": "http://evil"}, {"x-forwarded-for": "1.1.1.1"}, {"host": "evil"}, {f"x-{n}": "y" for n in range(200)},
    ],
    ids=lambda headers: ",".join(headers)[:30],
)  # fmt: skip
def test_no_header_breaks_anything(http: httpx.Client, system: System, headers: dict[str, str]) -> None:
    bomb = gzip.compress(b"x" * (8 << 20))
    for verb, path, body in (
        ("POST", "/v1/projects/default/models/mail:predict", b'{"rows": [{"text": "x"}]}'),
        ("POST", "/v1/projects/default/models/mail/feedback:stream", bomb), ("GET", "/v1/caller", b""),
        ("POST", "/v1/projects/default/datasets:import?dataset_id=bomb", bomb),
    ):  # fmt: skip
        try:
            answer = http.request(verb, path, content=body, headers=headers)
        except httpx.RemoteProtocolError:
            continue  # the server closed a connection whose request makes no sense
        if answer.status_code >= 400 and answer.headers.get("content-type", "").startswith("text/plain"):
            assert answer.status_code < 500  # refused by the HTTP parser, before there is a call
            continue
        check(system, answer, f"{headers} {path}")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n", b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
        b"GET /v1/caller HTTP/1.1\r\n" + b"x: y\r\n" * 5_000 + b"\r\n", b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/projects HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"POST /v1/projects HTTP/1.1\r\nhost: x\r\n"
        b"transfer-encoding: chunked\r\n\r\nzz\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET http://evil/ HTTP/1.1\r\n\r\n",
        b"POST /v1/projects HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n{}",
    ],
    ids=lambda sent: ascii(sent[:24]),
)  # fmt: skip
def test_no_bytes_that_are_no_http_break_anything(http: httpx.Client, system: System, sent: bytes) -> None:
    address = urlsplit(system.local.url)
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
    assert not system.problem(answer.decode("latin-1"))
    assert http.get("/v1/caller").status_code == 200


def test_slow_bodies_hold_up_nobody(http: httpx.Client, system: System) -> None:
    address = urlsplit(system.local.url)
    head = (
        f"POST /v1/projects/default/models/mail:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
        f"authorization: Bearer {system.local.admin_key}\r\n\r\n{{"
    )
    waiting = [socket.create_connection((address.hostname, address.port), timeout=SECONDS) for _ in range(200)]
    for connection in waiting:
        connection.sendall(head.encode())
    began = time.monotonic()
    for _ in range(20):
        answer = http.post("/v1/projects/default/models/mail:predict", json={"rows": [{"text": "x"}]})
        assert answer.status_code == 200, answer.text
    assert time.monotonic() - began < SECONDS
    for connection in waiting:
        connection.close()


def test_afterwards_every_service_is_the_same_process_nothing_was_unforeseen_and_the_loop_works(
    http: httpx.Client, system: System
) -> None:
    row = {"text": "win free money", "likes": 3}
    predicted = http.post("/v1/projects/default/models/mail:predict", json={"rows": [row]}).json()["predictions"][0]
    assert predicted["classNames"] == ["spam"]
    body: Any = {"predictionId": predicted["predictionId"], "classNames": ["spam"]}
    assert http.post("/v1/projects/default/models/mail/feedback", content=json.dumps(body)).status_code == 200
    status = http.get("/v1/status").json()
    assert [one for one in status["services"] if not one["ready"]] == []
    assert system.processes <= services_below(os.getpid())
    assert unexpected(system) == []
