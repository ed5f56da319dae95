"""JSON schemas of messages and enums, with what the protos say of each field: its words, its bounds, whether it is required."""

from __future__ import annotations

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from regrow.buf.validate import validate_pb2

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
WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
}


class Schemas:
    """Message and enum schemas by name, gathered as they are referred to."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.found: dict[str, Json] = {}
        self._comments = comments

    def message(self, descriptor: Any) -> Json:
        """A reference to the message's schema, which is made if it is new."""
        if descriptor.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[descriptor.full_name])
        name = schema_name(descriptor)
        if name not in self.found:
            self.found[name] = {}
            required = [field.json_name for field in descriptor.fields if behaves(field, field_behavior_pb2.REQUIRED)]
            self.found[name] = {
                "type": "object",
                **described(self._comments.get(descriptor.full_name, "")),
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
        own = described(self._comments.get(field.full_name, ""))
        only = {"readOnly": True} if behaves(field, field_behavior_pb2.OUTPUT_ONLY) else {}
        return {**schema, **_bounds(field), **own, **only}

    def value(self, field: Any) -> Json:
        """The schema of one value of a field."""
        if field.message_type is not None:
            return self.message(field.message_type)
        return self.enum(field.enum_type) if field.enum_type is not None else dict(_SCALARS[field.type])

    def enum(self, descriptor: EnumDescriptor) -> Json:
        """A reference to the enum's schema, which is made if it is new."""
        name = schema_name(descriptor)
        lines = [
            f"- `{value.name}`: {self._comments.get(f'{descriptor.full_name}.{value.name}', '')}" for value in descriptor.values
        ]
        text = "\n".join([self._comments.get(descriptor.full_name, ""), "", *lines])
        self.found.setdefault(
            name, {"type": "string", "enum": [value.name for value in descriptor.values], "description": text}
        )
        return {"$ref": f"#/components/schemas/{name}"}


def behaves(field: FieldDescriptor, behavior: int) -> bool:
    """Whether the field is required, output only, ..."""
    return behavior in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def described(text: str) -> Json:
    """A description, where there is one."""
    return {"description": text} if text else {}


def schema_name(descriptor: Descriptor | EnumDescriptor) -> str:
    """`labeling.Dataset`: two services may have a message of one name."""
    parts = descriptor.full_name.split(".")
    return ".".join([parts[1], *parts[3:]]) if parts[0] == "regrow" else descriptor.full_name


def _bounds(field: Any) -> Json:
    """What buf.validate says of a field, as JSON Schema says it. Whole numbers of 64 bits are texts in JSON and have none."""
    if not field.GetOptions().HasExtension(validate_pb2.field):
        return {}
    rules = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if kind not in ("string", "repeated", "int32", "uint32", "double", "float"):
        return {}
    found = getattr(rules, kind)
    names = {
        "min_len": "minLength", "max_len": "maxLength", "pattern": "pattern", "min_items": "minItems", "max_items": "maxItems",
        "gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum",
    }  # fmt: skip
    return {names[one.name]: value for one, value in found.ListFields() if one.name in names}
