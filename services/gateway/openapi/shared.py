"""What all calls have in common: errors, headers, system parameters, and how to authenticate."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_DETAIL = {
    "type": "object",
    "description": (
        "One of google.rpc's standard details, told apart by `@type`: ErrorInfo (always: reason, domain `regrow.dev`, facts), "
        "BadRequest (wrong fields), RetryInfo (when to come back), RequestInfo, ResourceInfo, PreconditionFailure, "
        "QuotaFailure, Help."
    ),
    "properties": {
        "@type": {"type": "string"},
        "reason": {"type": "string", "description": "ErrorInfo: switch on this."},
        "domain": {"type": "string"},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "fieldViolations": {
            "type": "array",
            "description": "BadRequest: each wrong field.",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "description": {"type": "string"}}},
        },
        "retryDelay": {"type": "string", "description": "RetryInfo: like `2s`."},
        "requestId": {"type": "string"},
    },
    "required": ["@type"],
    "additionalProperties": True,
}
ERROR = {
    "type": "object",
    "description": "What went wrong (AIP-193), the same as over gRPC.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The gRPC status, like `NOT_FOUND`."},
                "message": {"type": "string", "description": "The mistake and its cure, for a person."},
                "details": {"type": "array", "items": {"$ref": "#/components/schemas/ErrorDetail"}},
            },
            "required": ["code", "status", "message", "details"],
        }
    },
    "required": ["error"],
}
SCHEMAS: Json = {"Error": ERROR, "ErrorDetail": _DETAIL}

_REQUEST_ID = {"description": "The call's id: yours where it was fit, else a new one.", "schema": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
HEADERS: Json = {
    "X-Request-Id": _REQUEST_ID,
    "Retry-After": _RETRY_AFTER,
    "RateLimit-Limit": {"description": "How many calls may come at once; where the caller has a rate.", "schema": _COUNT},
    "RateLimit-Remaining": {"description": "How many of them are left.", "schema": _COUNT},
    "RateLimit-Reset": {"description": "Seconds until all are.", "schema": _COUNT},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
    "ETag": {"description": "The resource's etag in quotes, for `If-Match`.", "schema": {"type": "string"}},
    "Location": {"description": "The operation.", "schema": {"type": "string"}},
    "Inference-Header-Content-Length": {
        "description": "Of an answer with binary tensors: how many bytes of JSON stand before them.",
        "schema": _COUNT,
    },
    "Preference-Applied": {"description": "`respond-async`.", "schema": {"type": "string"}},
}
PARAMETERS: Json = {
    "Fields": {
        "name": "fields", "in": "query", "schema": {"type": "string"},
        "description": (
            "Only these fields of the answer (AIP-157): paths with commas between. `$fields` and the header `X-Goog-FieldMask` "
            "are the same."
        ),
    },
    "RequestId": {
        "name": "X-Request-Id", "in": "header", "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
        "description": "Your id of this call, found again in answers, errors and logs.",
    },
    "IfMatch": {
        "name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": r'^(\*|"[!#-~]+")$'},
        "description": (
            "Make the change only where the resource has this etag, in quotes as the header `ETag` gives it. The same as the"
            " etag in the request: where it is old, 409. `*` is whatever it has. Calls without this parameter refuse it (400)."
        ),
    },
    "InferenceHeader": {
        "name": "Inference-Header-Content-Length", "in": "header", "schema": _COUNT,
        "description": "Of a request with binary tensors: how many bytes of JSON stand before them.",
    },
    "Prefer": {
        "name": "Prefer", "in": "header", "schema": {"type": "string"}, "example": "respond-async, wait=5",
        "description": "`respond-async` answers 202 with an operation (RFC 7240); `wait=<seconds>` first waits so long.",
    },
}  # fmt: skip


def _failure(code: int, status: str, text: str, reason: str, *headers: str) -> Json:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "regrow.dev", "metadata": {}}
    example = {"error": {"code": code, "status": status, "message": text, "details": [info]}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}}
    return {"description": text, "headers": headers_of("X-Request-Id", *headers), "content": content}


def headers_of(*names: str) -> Json:
    """References to headers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


RATE = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
RESPONSES: Json = {
    "400": _failure(400, "INVALID_ARGUMENT", "A field is wrong, or the moment is; it says which and why.", "INVALID_FIELD"),
    "401": _failure(401, "UNAUTHENTICATED", "No key, or one that isn't good.", "UNAUTHENTICATED", "WWW-Authenticate"),
    "403": _failure(403, "PERMISSION_DENIED", "The key's role or projects don't allow this.", "PERMISSION_DENIED"),
    "404": _failure(404, "NOT_FOUND", "There is no such resource.", "NOT_FOUND"),
    "409": _failure(409, "ABORTED", "It exists already, or somebody changed it first.", "ETAG_MISMATCH"),
    "429": _failure(429, "RESOURCE_EXHAUSTED", "A bound was reached; come back later.", "BUSY", "Retry-After", *RATE),
    "503": _failure(503, "UNAVAILABLE", "An engine or a service can't be reached.", "ENGINE_UNAVAILABLE", "Retry-After"),
    "default": _failure(500, "INTERNAL", "What else went wrong.", "INTERNAL"),
}
SECURITY: Json = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `rg_...`. `regrow keys create` makes one."},
    "token": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "A token of an OpenID Connect issuer that the gateway trusts.",
    },
}  # fmt: skip
