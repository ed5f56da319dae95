"""The OpenAPI 3.1 document of the REST API, made from the descriptors; the protos' comments are its descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

import regrow
from services.gateway.methods import Binding, Method, public_methods
from services.gateway.policy import RULES
from services.gateway.routes import compile_template

Json = dict[str, Any]

_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
}
_ERROR = {
    "type": "object",
    "description": "What went wrong (AIP-193). `error.details` carries the reason, wrong fields, and when to come back.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The gRPC status, like `NOT_FOUND`."},
                "message": {"type": "string", "description": "The mistake and its cure, for a person."},
                "details": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
            },
        }
    },
}
_MOST_NESTED = 2
"""How deep the fields of a message are spelled out as query parameters."""


@cache
def document(version: str) -> bytes:
    """The document as JSON."""
    comments = _comments()
    schemas = _Schemas(comments)
    paths: dict[str, Json] = {}
    for method in public_methods().values():
        for number, binding in enumerate(method.bindings):
            path, operation = _operation(method, binding, number, comments, schemas)
            paths.setdefault(path, {})[binding.verb.lower()] = operation
    return orjson.dumps({
        "openapi": "3.1.0",
        "info": {"title": "Regrow", "version": version, "description": _ABOUT},
        "security": [{"key": []}],
        "tags": [{"name": tag, "description": text} for tag, text in _tags(comments)],
        "paths": paths,
        "components": {
            "schemas": {**schemas.found, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: `rg_...`."}},
        },
    })  # fmt: skip


_ABOUT = (
    "Turns tables and texts with a few labels into a classifier, serves it, and regrows it from feedback. Every call is also"
    " there over gRPC. Requests take lowerCamelCase and snake_case names, and enum values without prefix in small letters."
)


class _Schemas:
    """Message and enum schemas by name, gathered as they are referred to."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.found: dict[str, Json] = {}
        self._comments = comments

    def message(self, descriptor: Any) -> Json:
        """A reference to the message's schema, which is made if it is new."""
        if descriptor.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[descriptor.full_name])
        name = _schema_name(descriptor)
        if name not in self.found:
            self.found[name] = {}
            required = [field.json_name for field in descriptor.fields if _behaves(field, field_behavior_pb2.REQUIRED)]
            self.found[name] = {
                "type": "object",
                **_described(self._comments.get(descriptor.full_name, "")),
                "properties": {field.json_name: self.field(field) for field in descriptor.fields},
                **({"required": required} if required else {}),
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: Any) -> Json:
        """A field's schema with its comment."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            schema: Json = {"type": "object", "additionalProperties": self.value(field.message_type.fields_by_name["value"])}
        elif field.is_repeated:
            schema = {"type": "array", "items": self.value(field)}
        else:
            schema = self.value(field)
        own = _described(self._comments.get(field.full_name, ""))
        return {**schema, **own, **({"readOnly": True} if _behaves(field, field_behavior_pb2.OUTPUT_ONLY) else {})}

    def value(self, field: Any) -> Json:
        """The schema of one value of a field."""
        if field.message_type is not None:
            return self.message(field.message_type)
        return self.enum(field.enum_type) if field.enum_type is not None else dict(_SCALARS[field.type])

    def enum(self, descriptor: EnumDescriptor) -> Json:
        """A reference to the enum's schema, which is made if it is new."""
        name = _schema_name(descriptor)
        lines = [
            f"- `{value.name}`: {self._comments.get(f'{descriptor.full_name}.{value.name}', '')}" for value in descriptor.values
        ]
        text = "\n".join([self._comments.get(descriptor.full_name, ""), "", *lines])
        self.found.setdefault(
            name, {"type": "string", "enum": [value.name for value in descriptor.values], "description": text}
        )
        return {"$ref": f"#/components/schemas/{name}"}


def _operation(method: Method, binding: Binding, number: int, comments: dict[str, str], schemas: _Schemas) -> tuple[str, Json]:
    path, names = _path(binding)
    comment = comments.get(method.descriptor.full_name, "")
    rule = RULES[method.path]
    operation: Json = {
        "operationId": method.name + (f"_{number + 1}" if number else ""),
        "tags": [method.service.rpartition(".")[2]],
        "summary": comment.partition(". ")[0].partition("\n")[0].rstrip("."),
        "description": f"{comment}\n\nNeeds the role `{rule.role}`. gRPC: `{method.path[1:]}`.",
        "parameters": [*names, *_query(method, binding, schemas)],
        "responses": {"200": _answer(method, schemas), "default": _failure()},
    }
    if (body := _body(method, binding, schemas)) is not None:
        operation["requestBody"] = body
    return path, operation


def _path(binding: Binding) -> tuple[str, list[Json]]:
    """`/v1/projects/{project}/datasets/{dataset}:export` with its parameters."""
    template = compile_template(binding.template)
    parts: list[str] = []
    for segment in template.segments:
        parts.append(f"{{{_singular(parts[-1])}}}" if segment == "*" else segment)
    names = [part[1:-1] for part in parts if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return "/" + "/".join(parts) + (f":{template.verb}" if template.verb else ""), parameters


def _singular(plural: str) -> str:
    return {"aliases": "alias", "policies": "policy"}.get(plural, plural.removesuffix("s"))


def _query(method: Method, binding: Binding, schemas: _Schemas) -> list[Json]:
    if binding.body == "*" and not method.upload_field:
        return []
    taken = {path for path, _, _ in compile_template(binding.template).variables} | {binding.body, method.upload_field}
    return list(_parameters(method.request.DESCRIPTOR, "", taken, schemas, 0))


def _parameters(descriptor: Any, prefix: str, taken: Iterable[str], schemas: _Schemas, depth: int) -> Iterator[Json]:
    for field in descriptor.fields:
        name = prefix + field.name
        message = field.message_type
        if name in taken:
            continue
        if message is None or message.full_name in _WELL_KNOWN or field.is_repeated or depth >= _MOST_NESTED:
            schema = schemas.field(field)
            described = _described(schema.pop("description", ""))
            yield {"name": name, "in": "query", **described, **_shaped(field, schema), **_required(field, prefix)}
        else:
            yield from _parameters(message, f"{name}.", taken, schemas, depth + 1)


def _shaped(field: FieldDescriptor, schema: Json) -> Json:
    """Messages in a query are JSON texts, repeated ones one parameter each."""
    if field.message_type is not None and field.message_type.full_name not in _WELL_KNOWN:
        return {"content": {"application/json": {"schema": schema}}}
    return {"schema": schema}


def _required(field: FieldDescriptor, prefix: str) -> Json:
    return {"required": True} if not prefix and _behaves(field, field_behavior_pb2.REQUIRED) else {}


def _body(method: Method, binding: Binding, schemas: _Schemas) -> Json | None:
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
    content: Json = {"application/json": {"schema": schema}}
    if method.streams_requests and method.streams_responses:
        content |= {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}}
    return {"required": True, "content": content}


def _without(schemas: _Schemas, descriptor: Any, taken: set[str]) -> Json:
    """The schema of a body that is the whole message but for what the path gives."""
    fields = [field for field in descriptor.fields if field.name not in taken]
    required = [field.json_name for field in fields if _behaves(field, field_behavior_pb2.REQUIRED)]
    schema: Json = {"type": "object", "properties": {field.json_name: schemas.field(field) for field in fields}}
    return {**schema, "required": required} if required else schema


def _answer(method: Method, schemas: _Schemas) -> Json:
    if method.raw_response:
        return {"description": "The file.", "content": {"application/octet-stream": {"schema": {}}}}
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


def _failure() -> Json:
    return {
        "description": "What went wrong.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _tags(comments: dict[str, str]) -> Iterator[tuple[str, str]]:
    for service in dict.fromkeys(method.service for method in public_methods().values()):
        yield service.rpartition(".")[2], comments.get(service, "")


def _behaves(field: FieldDescriptor, behavior: int) -> bool:
    return behavior in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _described(text: str) -> Json:
    return {"description": text} if text else {}


def _schema_name(descriptor: Descriptor | EnumDescriptor) -> str:
    """`labeling.Dataset`: two services may have a message of one name."""
    parts = descriptor.full_name.split(".")
    return ".".join([parts[1], *parts[3:]]) if parts[0] == "regrow" else descriptor.full_name


def _comments() -> dict[str, str]:
    """The leading comment of every message, field, enum, value, service and rpc, by full name."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())
    found: dict[str, str] = {}
    for file in files.file:
        if file.package.startswith("regrow."):
            for location in file.source_code_info.location:
                if location.leading_comments and (name := _name_at(file, list(location.path))):
                    found[name] = " ".join(line.strip() for line in location.leading_comments.strip().splitlines())
    return found


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The full name of what a path in the file's descriptor leads to; empty for what has no name."""
    node: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = node.DESCRIPTOR.fields_by_number.get(number)
        if field is None or not field.is_repeated or field.message_type is None:
            return ""
        node = getattr(node, field.name)[index]
        if "name" not in node.DESCRIPTOR.fields_by_name:
            return ""
        name = f"{name}.{node.name}"
    return name if len(path) % 2 == 0 and path else ""
