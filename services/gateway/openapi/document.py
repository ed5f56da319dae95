"""The whole document."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import orjson

from services.gateway.methods import public_methods
from services.gateway.openapi import inference, inference_schemas
from services.gateway.openapi.comments import comments
from services.gateway.openapi.operations import operation_of
from services.gateway.openapi.plain import PlainSchemas
from services.gateway.openapi.schemas import Json, Schemas
from services.gateway.openapi.shared import HEADERS, PARAMETERS, RESPONSES, SCHEMAS, SECURITY

_ABOUT = (
    "Turns tables and texts with a few labels into a classifier, serves it, and regrows it from feedback. Every call is also"
    " there over gRPC. Requests take lowerCamelCase and snake_case names, and enum values without prefix in small letters."
    " Lists take `filter` (AIP-160), `order_by` (AIP-132) and pages (AIP-158); every call with one answer takes `fields`"
    " (AIP-157); slow calls can be asked for as operations by `Prefer: respond-async`. `/v2` is the Open Inference Protocol:"
    " requests, answers and errors there have that protocol's form. Answers of 2 KiB or more are compressed"
    " where `Accept-Encoding` allows it."
)


@cache
def document(version: str) -> bytes:
    """The document as JSON."""
    words = comments()
    schemas, plain = Schemas(words), PlainSchemas()
    paths: dict[str, Json] = {}
    for method in public_methods().values():
        for number, binding in enumerate(method.bindings):
            path, operation = operation_of(method, binding, number, words, schemas)
            paths.setdefault(path, {})[binding.verb.lower()] = operation
    for path, verb, operation in inference.inference_operations(schemas, plain):
        paths.setdefault(path, {})[verb] = operation
    licence = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    return orjson.dumps({
        "openapi": "3.1.0",
        "info": {"title": "Regrow", "version": version, "description": _ABOUT, "license": licence},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "tags": [{"name": tag, "description": text} for tag, text in _tags(words)],
        "paths": paths,
        "components": {
            "schemas": {**schemas.found, **plain.found, **SCHEMAS, **inference_schemas.SCHEMAS},
            "responses": {**RESPONSES, **inference_schemas.FAILURES}, "parameters": PARAMETERS, "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    })  # fmt: skip


def _tags(comments: dict[str, str]) -> Iterator[tuple[str, str]]:
    for service in dict.fromkeys(method.service for method in public_methods().values()):
        yield service.rpartition(".")[2], comments.get(service, "")
    yield inference.TAG, inference.ABOUT
