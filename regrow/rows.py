"""Rows as people have them (dicts, a pandas DataFrame) to rows as protobuf carries them. pandas is never imported here."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from google.protobuf import struct_pb2


def is_frame(data: object) -> bool:
    """Whether it is a pandas DataFrame, told by what it can do."""
    return hasattr(data, "to_dict") and hasattr(data, "to_csv") and hasattr(data, "columns")


def rows_of(data: Any) -> list[Mapping[str, Any]]:
    """The rows of a DataFrame or of a sequence of mappings (column to value)."""
    if is_frame(data):
        return [{str(column): value for column, value in row.items()} for row in data.to_dict(orient="records")]
    if isinstance(data, Mapping):
        raise TypeError("rows must be a list of dicts or a DataFrame; put a single row in a list.")
    return list(data)


def struct(row: Mapping[str, Any]) -> struct_pb2.Struct:
    """A row as protobuf carries it. Missing (None, NaN, NaT) becomes null, numpy's scalars Python's, times ISO 8601."""
    message = struct_pb2.Struct()
    for column, value in row.items():
        message.fields[str(column)].CopyFrom(_value(value))
    return message


def values(message: struct_pb2.Struct) -> dict[str, Any]:
    """The inverse: column to value, whole numbers as `int`."""
    return {column: _plain(message.fields[column]) for column in message.fields}


def file_of(frame: Any) -> tuple[str, bytes]:
    """A DataFrame as a file's name and bytes: Parquet where its engine is installed (it keeps kinds), else CSV."""
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError:
        return "frame.csv", frame.to_csv(index=False).encode()
    return "frame.parquet", buffer.getvalue()


def _value(value: Any) -> struct_pb2.Value:
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if is_missing(plain):
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(plain, bool):
        return struct_pb2.Value(bool_value=plain)
    if isinstance(plain, int | float):
        return struct_pb2.Value(number_value=plain)
    if isinstance(plain, datetime | date):
        return struct_pb2.Value(string_value=plain.isoformat())
    if isinstance(plain, Mapping):
        return struct_pb2.Value(struct_value=struct(plain))
    if isinstance(plain, Iterable) and not isinstance(plain, str | bytes):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_value(one) for one in plain]))
    return struct_pb2.Value(string_value=plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain))


def is_missing(plain: Any) -> bool:
    """None, NaN and pandas' NaT differ from themselves; pandas' NA can't be compared at all."""
    if plain is None or type(plain).__name__ == "NAType":
        return True
    if isinstance(plain, float):
        return math.isnan(plain)
    return type(plain).__name__ == "NaTType"


def _plain(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if kind == "struct_value":
        return values(value.struct_value)
    if kind == "list_value":
        return [_plain(one) for one in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)
