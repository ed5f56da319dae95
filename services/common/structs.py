"""`google.protobuf.Struct` as Python has it: what JSON can say, and nothing that it can't."""

from __future__ import annotations

import math

from google.protobuf.struct_pb2 import ListValue, Struct, Value


def plain_struct(struct: Struct) -> dict[str, object]:
    """A dict; numbers that JSON doesn't know (NaN, infinity) and values that say nothing are None."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return value.number_value if math.isfinite(value.number_value) else None
    if kind == "struct_value":
        return plain_struct(value.struct_value)
    if kind == "list_value":
        return _plain_list(value.list_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _plain_list(values: ListValue) -> list[object]:
    return [_plain(value) for value in values.values]
