"""Every public call with a request that names a project, by every kind of caller, and what the policy table says of the two.

What is expected is read from the table's columns alone, by rules of this file: nothing of the code that enforces them is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message

from services.gateway.methods import Method, public_methods
from services.gateway.oip.methods import SERVICE, inference_methods
from services.gateway.policy import RULES, Rule

PROJECT, OTHER, MODEL, OTHER_MODEL = "shop", "bank", "mine", "yours"
METHODS: Mapping[str, Method] = {**public_methods(), **inference_methods()}
RANKS = ("viewer", "labeler", "editor", "admin")
REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
PASSED = "passed"
"""The call got through to whoever answers it; what that one says of the request is another matter."""
_INPUTS = [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"]}]
_IN_PATH = re.compile(r"\{([a-z_.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls. No `role` is nobody that a key or token makes somebody; no `projects` is all of them."""

    label: str
    secret: str = ""
    role: str = ""
    projects: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    known: bool = True
    """Of a token: whether its issuer vouches for it, though no group of its subject has a role."""

    @property
    def header(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"} if self.secret else {}


def expected(rule: Rule, caller: Caller, route: str = "") -> str:
    """What the table says: `passed`, or the status of the refusal. A `route` without a name asks about all that the caller may
    see."""
    if rule.keyless:
        return PASSED
    if not caller.role:
        return "PERMISSION_DENIED" if caller.known else "UNAUTHENTICATED"
    about = rule.project and (not route or PROJECT in route)
    may = (
        RANKS.index(caller.role) >= RANKS.index(rule.role)
        and not (rule.every_project and caller.projects)
        and not (caller.models and not rule.one_model)
        and not (about and caller.projects and PROJECT not in caller.projects)
        and not (about and caller.models and MODEL not in caller.models)
    )
    return PASSED if may else "PERMISSION_DENIED"


def over_grpc(channel: grpc.Channel, method: Method, caller: Caller) -> str:
    """What the call is answered, as `expected` says it."""
    kind = f"{'stream' if method.streams_requests else 'unary'}_{'stream' if method.streams_responses else 'unary'}"
    call = getattr(channel, kind)(method.path)
    content: Any = _request(method).SerializeToString()
    try:
        answer = call(
            iter([content]) if method.streams_requests else content, timeout=60, metadata=tuple(caller.header.items())
        )
        answers = list(answer) if method.streams_responses else [answer]
    except grpc.RpcError as error:
        status = error.code().name
        return status if status in REFUSALS else PASSED
    if method.name == "ModelStreamInfer":
        return _told_within(answers[0])
    return PASSED


def over_rest(http: httpx.Client, method: Method, caller: Caller) -> Iterator[tuple[str, str]]:
    """The same by each of its routes, with the route."""
    for binding in method.bindings:
        path = _IN_PATH.sub(lambda found: _value(method, found[1], found[2] or "*"), binding.template)
        body = {"inputs": _INPUTS} if path.endswith("/infer") else {}
        options = {"content": json.dumps(body)} if binding.body and not method.upload_field else {}
        headers = {**caller.header, "content-type": "application/json"}
        answer = http.request(binding.verb, path, headers=headers, **options)
        yield f"{binding.verb} {path}", {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}.get(answer.status_code, PASSED)


def _request(method: Method) -> Message:
    """With the names that its route has; what else it needs is missing."""
    if method.name in ("ModelInfer", "ModelStreamInfer"):
        inputs = [{**one, "contents": {"bytesContents": ["d2lu"]}} for one in _INPUTS]
        content: dict[str, Any] = {"modelName": f"{PROJECT}.{MODEL}", "inputs": inputs}
        for one in inputs:
            one.pop("data")
        return json_format.ParseDict(content, method.request())
    request = method.request()
    for field, pattern in _IN_PATH.findall(method.bindings[0].template if method.bindings else ""):
        *parents, leaf = field.split(".")
        owner: Any = request
        for parent in parents:
            owner = getattr(owner, parent)
        setattr(owner, leaf, _value(method, field, pattern or "*"))
    if method.service == SERVICE and (field := RULES[method.path].project):
        setattr(request, field, f"{PROJECT}.{MODEL}")
    return request


def _value(method: Method, field: str, pattern: str) -> str:
    """`projects/shop/models/mine/versions/1` of `projects/*/models/*/versions/*`."""
    if method.service == SERVICE:
        return "1" if field == "version" else f"{PROJECT}.{MODEL}"
    known = {"projects": PROJECT, "models": MODEL, "versions": "1"}
    words: list[str] = []
    for word in pattern.split("/"):
        words.append(known.get(words[-1] if words else "", "x") if word in ("*", "**") else word)
    return "/".join(words)


def _told_within(content: bytes) -> str:
    """A refusal of one request of the stream is told within it, in words."""
    message = METHODS[f"/{SERVICE}/ModelStreamInfer"].response.FromString(content)
    told: str = message.error_message  # type: ignore[attr-defined]
    return "PERMISSION_DENIED" if " isn't for " in told else PASSED
