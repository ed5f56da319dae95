"""JSON schemas of messages as the Open Inference Protocol's REST writes them: original names, numbers as numbers, all there."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from services.gateway.openapi.schemas import Json

_INTEGER: Json = {"type": "integer"}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_INT32: _INTEGER, FieldDescriptor.CPPTYPE_INT64: _INTEGER,
    FieldDescriptor.CPPTYPE_UINT32: _INTEGER, FieldDescriptor.CPPTYPE_UINT64: _INTEGER,
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"}, FieldDescriptor.CPPTYPE_FLOAT: {"type": "number"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"}, FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}  # fmt: skip


class PlainSchemas:
    """Schemas by name, gathered as they are referred to: the counterpart of `oip.rest.plain`."""

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def message(self, descriptor: Any) -> Json:
        """A reference to the message's schema, which is made if it is new."""
        name = descriptor.full_name
        if name not in self.found:
            self.found[name] = {}
            always = [field.name for field in descriptor.fields if field.is_repeated or field.message_type is None]
            self.found[name] = {
                "type": "object",
                "properties": {field.name: self._field(field) for field in descriptor.fields},
                **({"required": always} if always else {}),
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _field(self, field: Any) -> Json:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._value(field.message_type.fields_by_name["value"])}
        return {"type": "array", "items": self._value(field)} if field.is_repeated else self._value(field)

    def _value(self, field: Any) -> Json:
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        return dict(_SCALARS[field.cpp_type])
