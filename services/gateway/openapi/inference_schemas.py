"""The bodies of the Open Inference Protocol's REST that aren't a message of its proto, with the extensions that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.oip.asking import OUTPUTS
from services.gateway.oip.tensors import DATATYPES, MOST_ROWS
from services.gateway.openapi.schemas import Json, described
from services.gateway.openapi.shared import RESPONSES, headers_of

OCTETS = "application/octet-stream"
BINARY = "Inference-Header-Content-Length"
"""The header that says how long the JSON is that stands before binary tensors."""


def ref(name: str) -> Json:
    """To one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Json], *required: str, about: str = "", **more: Any) -> Json:
    listed = {"required": list(required)} if required else {}
    return {"type": "object", **described(about), "properties": dict(properties), **listed, **more}


def _text(about: str = "") -> Json:
    return {"type": "string", **described(about)}


def _whole(about: str, least: int = 0) -> Json:
    return {"type": "integer", "minimum": least, **described(about)}


def _flag(about: str) -> Json:
    return {"type": "boolean", **described(about)}


_DATATYPE: Json = {"type": "string", "enum": list(DATATYPES)}
_SHAPE: Json = {
    "type": "array", "items": _whole("", least=1), "minItems": 1, "maxItems": 2,
    "description": f"`[rows]` or `[rows, 1]`, of 1 to {MOST_ROWS:,} rows.",
}  # fmt: skip
_ELEMENT: Json = {"type": ["string", "number", "boolean", "null"]}
_DATA: Json = {
    "type": "array", "items": {"anyOf": [_ELEMENT, {"type": "array", "items": _ELEMENT}]},
    "description": "The elements, flat or nested as the shape is; null where one is missing. Texts of `BYTES` are in UTF-8.",
}  # fmt: skip
_BINARY_SIZE = _whole("How many bytes behind the JSON are this tensor's elements, instead of `data`.")

_INPUT = _object(
    {"name": _text("The column."), "shape": _SHAPE, "datatype": _DATATYPE,
     "parameters": _object({"binary_data_size": _BINARY_SIZE}), "data": _DATA},
    "name", "shape", "datatype", about="A column of the rows to predict.",
)  # fmt: skip
_WANTED = _object(
    {"name": {"type": "string", "enum": list(OUTPUTS)},
     "parameters": _object({
         "classification": _whole("Of `probabilities`: so many of the largest, as texts `value:index:class`."),
         "binary_data": _flag("The elements behind the JSON, as bytes."),
     })},
    "name", about="An output that is wanted.",
)  # fmt: skip
_REQUEST = _object(
    {"id": _text("Comes back in the answer."),
     "parameters": _object({
         "timeout": _whole("Microseconds after which the caller has given up."),
         "binary_data_output": _flag("All outputs as bytes behind the JSON, but those that say otherwise."),
     }),
     "inputs": {"type": "array", "items": ref("InferenceInput"), "minItems": 1,
                "description": "All have as many rows. A column of the model that isn't there is missing in all rows."},
     "outputs": {"type": "array", "items": ref("InferenceWanted"), "description": "All three where none is named."}},
    "inputs", about="Rows to predict, by column.",
)  # fmt: skip
_OUTPUT = _object(
    {"name": _text("`class`, `probabilities` or `prediction_id`."), "datatype": _DATATYPE,
     "shape": {"type": "array", "items": _whole("")},
     "parameters": _object({"binary_data_size": _BINARY_SIZE}),
     "data": {"type": "array", "items": {"type": ["string", "number"]}, "description": "Flat, row by row."}},
    "name", "datatype", "shape",
)  # fmt: skip
_ANSWER = _object(
    {"model_name": _text("As it was called."), "model_version": _text("The number of the version that answered."),
     "id": _text("The request's, where it had one."),
     "parameters": _object({
         "version": _text("The version's resource name."),
         "prediction_id": _text("Of one row: what feedback refers to."),
         "prediction_ids": _text("Of up to 100 rows, with commas between; the output `prediction_id` has them all."),
         "warnings": _text("What was odd about rows, as JSON: `[{\"row\": 0, \"field\": ..., \"problem\": ...}]`."),
     }, "version"),
     "outputs": {"type": "array", "items": ref("InferenceOutput")}},
    "model_name", "model_version", "parameters", "outputs",
)  # fmt: skip
_CONFIG = "`config` is a text of JSON that names versions; without it the champion is loaded."
_PARAMETERS: Json = {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}}

SCHEMAS: dict[str, Json] = {
    "InferenceError": _object({"error": _text("The mistake and its cure.")}, "error", about="What went wrong."),
    "InferenceInput": _INPUT, "InferenceWanted": _WANTED, "InferenceRequest": _REQUEST,
    "InferenceOutput": _OUTPUT, "InferenceResponse": _ANSWER,
    "ServerReadiness": _object({"ready": _flag(""), "live": _flag("Always true.")}, "ready", "live"),
    "RepositoryIndexBody": _object({"ready": _flag("Only what answers.")}),
    "RepositoryModelLoadBody": _object({"parameters": {**_PARAMETERS, "description": _CONFIG}}),
    "RepositoryModelUnloadBody": _object({"parameters": _PARAMETERS}),
    "EventIds": _object({"event_ids": {"type": "array", "items": _text("Of each piece of feedback.")}}, "event_ids"),
}  # fmt: skip


def _failing(one: Json) -> Json:
    content = {"application/json": {"schema": ref("InferenceError"), "example": {"error": one["description"]}}}
    return {**one, "content": content}


FAILURES: dict[str, Json] = {
    **{f"inference.{code}": _failing(one) for code, one in RESPONSES.items() if code != "409"},
    "inference.501": _failing({"description": "This call of Triton's isn't supported.", "headers": headers_of("X-Request-Id")}),
}
"""By name among the document's responses: as `/v1`'s, with the body that the protocol has."""
