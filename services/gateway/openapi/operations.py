"""One call of the REST API as the document has it: path, parameters, body, answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.api import field_behavior_pb2
from google.longrunning import operations_pb2 as longrunning_pb2
from google.protobuf.descriptor import FieldDescriptor

from services.gateway.conditions import etag_owner, tagged
from services.gateway.methods import Binding, Method
from services.gateway.openapi.examples import BODIES, FILTERS, NAMES
from services.gateway.openapi.schemas import WELL_KNOWN, Json, Schemas, behaves, described
from services.gateway.openapi.shared import RESPONSES, headers_of
from services.gateway.operations.rules import eligible
from services.gateway.policy import RULES
from services.gateway.routes import compile_template

_MOST_NESTED = 2
"""How deep the fields of a message are spelled out as query parameters."""


def operation_of(method: Method, binding: Binding, number: int, comments: dict[str, str], schemas: Schemas) -> tuple[str, Json]:
    """The path of a binding and what the document says of it."""
    path, names = _path(binding)
    comment = comments.get(method.descriptor.full_name, "")
    rule = RULES[method.path]
    operation: Json = {
        "operationId": method.name + (f"_{number + 1}" if number else ""),
        "tags": [method.service.rpartition(".")[2]],
        "summary": comment.partition(". ")[0].partition("\n")[0].rstrip(".") or _words(method.name),
        "description": f"{comment}\n\nNeeds the role `{rule.role}`. gRPC: `{method.path[1:]}`.",
        "parameters": [*names, *_query(method, binding, schemas), *_system(method, binding)],
        "responses": {**_answers(method, schemas), **_failures(method)},
    }
    if (body := _body(method, binding, schemas)) is not None:
        operation["requestBody"] = body
    return path, operation


def _words(name: str) -> str:
    """`Wait operation` for `WaitOperation`: of a call whose proto says nothing at its head."""
    return re.sub(r"(?<!^)([A-Z])", lambda letter: f" {letter[1].lower()}", name)


def _path(binding: Binding) -> tuple[str, list[Json]]:
    """`/v1/projects/{project}/datasets/{dataset}:export` with its parameters."""
    template = compile_template(binding.template)
    parts: list[str] = []
    for segment in template.segments:
        parts.append(f"{{{_singular(parts[-1])}}}" if segment == "*" else segment)
    names = [part[1:-1] for part in parts if part.startswith("{")]
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": NAMES.get(name, "NAME")}
        for name in names
    ]
    return "/" + "/".join(parts) + (f":{template.verb}" if template.verb else ""), parameters


def _singular(plural: str) -> str:
    return {"aliases": "alias", "policies": "policy"}.get(plural, plural.removesuffix("s"))


def _query(method: Method, binding: Binding, schemas: Schemas) -> list[Json]:
    if binding.body == "*" and not method.upload_field:
        return []
    taken = {path for path, _, _ in compile_template(binding.template).variables} | {binding.body, method.upload_field}
    found = list(_parameters(method.request.DESCRIPTOR, "", taken, schemas, 0))
    for one in found:
        if one["name"] == "filter" and method.name in FILTERS:
            one["example"] = FILTERS[method.name]
    return found


def _parameters(descriptor: Any, prefix: str, taken: Iterable[str], schemas: Schemas, depth: int) -> Iterator[Json]:
    for field in descriptor.fields:
        name = prefix + field.name
        message = field.message_type
        if name in taken:
            continue
        if message is None or message.full_name in WELL_KNOWN or field.is_repeated or depth >= _MOST_NESTED:
            schema = schemas.field(field)
            words = described(schema.pop("description", ""))
            yield {"name": name, "in": "query", **words, **_shaped(field, schema), **_required(field, prefix)}
        else:
            yield from _parameters(message, f"{name}.", taken, schemas, depth + 1)


def _shaped(field: FieldDescriptor, schema: Json) -> Json:
    """Messages in a query are JSON texts, repeated ones one parameter each."""
    if field.message_type is not None and field.message_type.full_name not in WELL_KNOWN:
        return {"content": {"application/json": {"schema": schema}}}
    return {"schema": schema}


def _required(field: FieldDescriptor, prefix: str) -> Json:
    return {"required": True} if not prefix and behaves(field, field_behavior_pb2.REQUIRED) else {}


def _body(method: Method, binding: Binding, schemas: Schemas) -> Json | None:
    if method.upload_field:
        return {"required": True, "description": "The file.", "content": {"application/octet-stream": {"schema": {}}}}
    if not binding.body:
        return None
    if binding.body == "*":
        schema = _without(
            schemas, method.request.DESCRIPTOR, {path for path, _, _ in compile_template(binding.template).variables}
        )
    else:
        schema = schemas.field(method.request.DESCRIPTOR.fields_by_name[binding.body])
    example = {"example": BODIES[method.name]} if method.name in BODIES else {}
    content: Json = {"application/json": {"schema": schema, **example}}
    if method.streams_requests and method.streams_responses:
        content |= {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}}
    return {"required": True, "content": content}


def _without(schemas: Schemas, descriptor: Any, taken: set[str]) -> Json:
    """The schema of a body that is the whole message but for what the path gives."""
    fields = [field for field in descriptor.fields if field.name not in taken]
    required = [field.json_name for field in fields if behaves(field, field_behavior_pb2.REQUIRED)]
    schema: Json = {"type": "object", "properties": {field.json_name: schemas.field(field) for field in fields}}
    return {**schema, "required": required} if required else schema


def _answer(method: Method, schemas: Schemas) -> Json:
    if method.raw_response:
        return {"description": "The file, with its own content type.", "content": {"*/*": {"schema": {}}}}
    schema = schemas.message(method.response.DESCRIPTOR)
    if method.streams_requests and method.streams_responses:
        text = "The sum of all; a line for each part where `Accept: application/x-ndjson` asks for them."
        return {
            "description": text,
            "content": {"application/json": {"schema": schema}, "application/x-ndjson": {"schema": schema}},
        }
    if method.streams_responses:
        text = "One JSON object a line; server-sent events where `Accept: text/event-stream` asks for them."
        return {
            "description": text,
            "content": {"application/x-ndjson": {"schema": schema}, "text/event-stream": {"schema": schema}},
        }
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


def _answers(method: Method, schemas: Schemas) -> Json:
    names = ("X-Request-Id", "ETag") if method.path in tagged() else ("X-Request-Id",)
    answer = {**_answer(method, schemas), "headers": headers_of(*names)}
    if method.path not in eligible():
        return {"200": answer}
    operation = schemas.message(longrunning_pb2.Operation.DESCRIPTOR)
    later = {
        "description": "The call runs in the background; the operation ends with its answer.",
        "headers": headers_of("X-Request-Id", "Location", "Preference-Applied", "Retry-After"),
        "content": {"application/json": {"schema": operation}},
    }
    return {"200": answer, "202": later}


def _failures(method: Method) -> Json:
    races = {"request_id", "etag"} & set(method.request.DESCRIPTOR.fields_by_name)
    left_out = set() if races or method.name.startswith(("Create", "Update", "Import")) else {"409"}
    return {code: {"$ref": f"#/components/responses/{code}"} for code in RESPONSES if code not in left_out}


def _system(method: Method, binding: Binding) -> list[Json]:
    """Parameters that calls take beside their own."""
    names = ["RequestId"]
    if not method.streams_responses:
        names.append("Fields")
    if etag_owner(method, binding) is not None:
        names.append("IfMatch")
    if method.path in eligible():
        names.append("Prefer")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
