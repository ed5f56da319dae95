"""An HTTP request as the message of its call, and the message of an answer as JSON (google.api.http, AIP-127).

A field comes from one place: the path's variables first, then the body, then (where the body isn't the whole message) the
query. What nothing reads is refused by name, so that a typing mistake never passes as a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.gateway.json_reading import Field, append, fields_of, read_field, read_message, shown
from services.gateway.json_text import refuse_twice
from services.gateway.routes import Found, Route

_MOST_PARAMETERS = 500


def read_request(route: Route, values: Mapping[str, str], query: bytes, body: bytes) -> Message:
    """The request of a call that takes one message. Raises `InvalidInput`."""
    request = route.method.request()
    binding = route.binding
    if binding.body == "*":
        read_message(_json(body) if body.strip() else {}, request)
        _refuse_query(query, "This call takes its fields in the JSON body.")
    elif binding.body:
        field = fields_of(request.DESCRIPTOR)[binding.body]
        if body.strip():
            sent = _json(body, field.name)
            _refuse_misplaced(sent, request, field, values)
            read_field(sent, request, field, field.name)
        elif field.message is not None:
            getattr(request, field.name).SetInParent()
        _read_query(query, request, taken={binding.body, *values}, also=_system(route))
    else:
        if body.strip():
            raise InvalidField("body", f"{binding.verb} {binding.template} takes no body; send its fields as query parameters.")
        _read_query(query, request, taken=set(values), also=_system(route))
    _set_path(request, values)
    return request


def _system(route: Route) -> tuple[str, ...]:
    """Parameters that calls take beside their own."""
    return () if route.method.streams_responses else ("fields",)


def read_upload(route: Route, values: Mapping[str, str], query: bytes, *, content: str) -> Message:
    """The first message of an upload: every field but the content is a query parameter."""
    request = route.method.request()
    _read_query(query, request, taken={content, *values}, also=_system(route))
    _set_path(request, values)
    return request


def to_json(message: Message, *, sparse: bool = False) -> bytes:
    """An answer: lowerCamelCase names, fields without presence always there, so that an empty list is seen as one.

    `sparse` leaves out what is empty: of an answer with some of its fields, the others would look like that.
    """
    return orjson.dumps(json_format.MessageToDict(message) if sparse else as_dict(message))


def as_dict(message: Message) -> dict[str, Any]:
    """What `to_json` writes."""
    found: dict[str, Any] = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return found


def not_found(found: Found, verb: str, path: str) -> str:
    """What to tell where no route fits."""
    if found.allowed:
        return f"{path} takes {' or '.join(found.allowed)}, not {verb}."
    return f"There is no call {verb} {path}. /openapi.json lists all calls."


def _json(body: bytes, path: str = "") -> object:
    try:
        sent: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidField("body", f"isn't JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    refuse_twice(body, sent, path)
    return sent


def _refuse_misplaced(sent: object, request: Message, body: Field, in_path: Mapping[str, str]) -> None:
    """The cure for the two usual mistakes where the body is one field of the call: its wrapper, and the call's other fields."""
    if not isinstance(sent, dict) or body.message is None or body.message.full_name.startswith("google."):
        return
    around, inside = fields_of(request.DESCRIPTOR), fields_of(body.message)
    for name in sent:
        field = around.get(name)
        if field is None or name in inside:
            continue
        if field.name in in_path:
            raise InvalidField(name, "is given by the path: leave it out of the body.")
        if field.name == body.name:
            raise InvalidField(
                name, f"is what the body itself is: send the fields of the {body.name} without this around them."
            )
        raise InvalidField(
            name, f"is no field of the {body.name}, which is the body: send it as query parameter, ?{field.name}=..."
        )


def _set_path(request: Message, values: Mapping[str, str]) -> None:
    for path, text in values.items():
        owner, field = _resolve(request, path)
        sent = getattr(owner, field.name) if isinstance(owner, Message) else ""
        if sent and sent != text:
            raise InvalidField(path, f"{shown(sent)} in the body differs from {shown(text)} in the path. Leave it out there.")
        read_field(text, owner, field, path)


def _refuse_query(query: bytes, why: str) -> None:
    for name, _ in _pairs(query):
        raise InvalidField(name, f"is no query parameter here. {why}")


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS, separator="&"
        )
    except (UnicodeDecodeError, ValueError):
        raise InvalidField("query", f"isn't readable as at most {_MOST_PARAMETERS} parameters in UTF-8.") from None


def _read_query(query: bytes, request: Message, taken: Iterable[str], also: Iterable[str] = ()) -> None:
    pairs = _pairs(query) if query else []
    taken = {_first(name) for name in taken if "." not in name} | {name for name in taken if "." in name}
    seen: set[str] = set()
    for name, text in pairs:
        if _first(name) not in fields_of(request.DESCRIPTOR):
            raise _unknown(name, [*(one.name for one in request.DESCRIPTOR.fields if one.name not in taken), *also])
        owner, field = _resolve(request, name)
        path = ".".join(_original_names(request.DESCRIPTOR, name))
        if path in taken or _first(path) in taken:
            raise InvalidField(name, "is no query parameter here: the path or the body gives it.")
        if path in seen and not field.repeated:
            raise InvalidField(name, "is given twice.")
        seen.add(path)
        if field.repeated:
            append(_from_text(text, field, name), owner, field, name)
        else:
            read_field(_from_text(text, field, name), owner, field, name)


def _resolve(request: Message, path: str) -> tuple[Any, Field]:
    owner: Any = request
    *parents, leaf = path.split(".")
    for parent in parents:
        field = _known(owner, parent, path)
        if field.message is None or field.repeated or field.key is not None or field.message.full_name.startswith("google."):
            raise InvalidField(path, f"'{parent}' has no fields of its own.")
        owner = getattr(owner, field.name)
    return owner, _known(owner, leaf, path)


def _known(owner: Message, name: str, path: str) -> Field:
    field = fields_of(owner.DESCRIPTOR).get(name)
    if field is None:
        raise _unknown(path, [one.name for one in owner.DESCRIPTOR.fields])
    return field


def _unknown(parameter: str, names: Iterable[str]) -> InvalidField:
    return InvalidField(parameter, f"is an unknown query parameter. There are: {', '.join(names) or 'none'}.")


def _original_names(descriptor: Any, path: str) -> Iterable[str]:
    for name in path.split("."):
        field = fields_of(descriptor)[name]
        yield field.name
        if field.message is not None:
            descriptor = field.message


def _first(path: str) -> str:
    return path.partition(".")[0]


def _from_text(text: str, field: Field, name: str) -> object:
    """A parameter's text as the JSON value that its field reads. Messages and maps are given as JSON, times as they are."""
    if field.message is None and field.key is None:
        return text
    if field.message is not None and field.message.full_name in _PLAIN:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidField(name, f'must be a JSON object, like {{"name": ...}}, not {shown(text)}.') from None


_PLAIN = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"})
