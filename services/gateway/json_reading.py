"""JSON into protobuf messages, by descriptor, with errors that name the field: `run.schedule: 'x' is no JSON object`.

Follows proto3's JSON mapping (lowerCamelCase and original names, int64 as string or number, base64 bytes, RFC 3339 times).
`google.protobuf.json_format` reads the well-known types; the rest is read here, for its messages don't say where a mistake
is, and it takes three times as long. Two things are read beyond the mapping, since people type them in query strings: enum
values without their prefix (`csv` for `FILE_FORMAT_CSV`), and original names in field masks.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.common.errors import InvalidField
from services.common.quoting import quoted

_DEEPEST = 64
_INTEGERS = frozenset({
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64,
})  # fmt: skip
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What reading needs to know of a field. `scalar` reads one value; None for messages."""

    name: str
    json_name: str
    repeated: bool
    message: Descriptor | None
    key: Callable[[object, str], Any] | None
    scalar: Callable[[object, str], Any] | None
    is_text: bool
    oneof: str


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, Field]:
    """The message's fields by both of their names."""
    plans = [_plan(field) for field in descriptor.fields]
    return {name: plan for plan in plans for name in (plan.name, plan.json_name)}


def read_message(value: object, message: Message, path: str = "", depth: int = 0) -> None:
    """Fills an empty message. Raises `InvalidField` with the path of what is wrong."""
    descriptor = message.DESCRIPTOR
    if depth > _DEEPEST:
        raise InvalidField(path, f"is nested deeper than {_DEEPEST} levels.")
    if descriptor.full_name in _WELL_KNOWN:
        _WELL_KNOWN[descriptor.full_name](value, message, path)
        return
    if descriptor.full_name.startswith("google.protobuf."):
        _read_with_library(value, message, path)
        return
    if not isinstance(value, dict):
        raise InvalidField(path or "body", f"must be a JSON object, not {shown(value)}.")
    known, chosen = fields_of(descriptor), set[str]()
    for name, content in value.items():
        field = known.get(name)
        if field is None:
            raise InvalidField(joined(path, name), f"is no field here. There are: {_names(descriptor)}.")
        if field.name in chosen or (field.oneof and field.oneof in chosen):
            raise InvalidField(
                joined(path, name), "is given twice." if field.name in chosen else f"excludes another {field.oneof}."
            )
        if content is None:
            continue
        chosen.add(field.name)
        if field.oneof:
            chosen.add(field.oneof)
        if not (field.is_text and type(content) is str and _is_set(message, field.name, content)):
            read_field(content, message, field, joined(path, field.name), depth)


def _is_set(message: Message, name: str, text: str) -> bool:
    """Sets a text, the most usual value, without a path for an error; False where that can't be."""
    try:
        setattr(message, name, text)
    except ValueError:
        return False
    return True


def read_field(value: object, message: Message, field: Field, path: str, depth: int = 0) -> None:
    """Sets one field from its JSON value."""
    if field.key is not None:
        _read_map(value, message, field, path, depth)
    elif field.repeated:
        if not isinstance(value, list):
            raise InvalidField(path, f"must be a list, not {shown(value)}.")
        for index, item in enumerate(value):
            append(item, message, field, f"{path}[{index}]", depth)
    elif field.scalar is None:
        child = getattr(message, field.name)
        child.SetInParent()
        read_message(value, child, path, depth + 1)
    else:
        _assign(lambda read: setattr(message, field.name, read), field.scalar(value, path), path)


def append(value: object, message: Message, field: Field, path: str, depth: int = 0) -> None:
    """Adds one item to a repeated field."""
    items = getattr(message, field.name)
    if value is None and not (field.message and field.message.full_name == "google.protobuf.Value"):
        raise InvalidField(path, "is null: leave it out of the list.")
    if field.scalar is None:
        read_message(value, items.add(), path, depth + 1)
    else:
        _assign(items.append, field.scalar(value, path), path)


def joined(path: str, name: str) -> str:
    """`run.schedule` and `design` make `run.schedule.design`."""
    return f"{path}.{name}" if path else name


def shown(value: object) -> str:
    """A value as an error message quotes it: short."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return quoted(value)


def fill_struct(values: Mapping[str, object], struct: struct_pb2.Struct, path: str = "") -> None:
    """Writes a JSON object into a Struct."""
    for key, value in values.items():
        _fill_value(value, struct.fields[key], joined(path, key), 1)


def _read_map(value: object, message: Message, field: Field, path: str, depth: int) -> None:
    if not isinstance(value, dict) or field.key is None:
        raise InvalidField(path, f"must be a JSON object, not {shown(value)}.")
    target = getattr(message, field.name)
    for key, content in value.items():
        at = f"{path}.{key}"
        read_key = field.key(key, at)
        if field.scalar is None:
            read_message(content, target[read_key], at, depth + 1)
        else:
            read = field.scalar(content, at)
            _assign(lambda one, read_key=read_key: target.__setitem__(read_key, one), read, at)  # type: ignore[misc]


def _assign(setter: Callable[[Any], Any], value: object, path: str) -> None:
    try:
        setter(value)
    except ValueError:
        raise InvalidField(path, f"{shown(value)} is outside the range of this field.") from None


def _plan(field: FieldDescriptor) -> Field:
    entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
    value = entry.fields_by_name["value"] if entry else field
    oneof = field.containing_oneof
    return Field(
        name=field.name,
        json_name=field.json_name,
        repeated=bool(field.is_repeated),
        message=value.message_type,
        key=_reader(entry.fields_by_name["key"]) if entry else None,
        scalar=None if value.message_type else _reader(value),
        is_text=field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated,
        # A lone optional field has a oneof of its own in the descriptor; it excludes nothing.
        oneof=oneof.name if oneof is not None and len(oneof.fields) > 1 else "",
    )


def _reader(field: FieldDescriptor) -> Callable[[object, str], Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _string
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _boolean
    if field.cpp_type in _INTEGERS:
        return _integer
    if field.cpp_type in _FLOATS:
        return _number
    enum: Any = field.enum_type
    return lambda value, path: _enum(value, path, enum)


def _string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidField(path, f"must be a string, not {shown(value)}.")
    return value


def _boolean(value: object, path: str) -> bool:
    if value is True or value == "true":
        return True
    if value is False or value == "false":
        return False
    raise InvalidField(path, f"must be true or false, not {shown(value)}.")


def _integer(value: object, path: str) -> int:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= 20:
            return int(value)
    elif isinstance(value, float) and value.is_integer():
        return int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidField(path, f"must be a whole number, not {shown(value)}.")


def _number(value: object, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            number = float(value.replace("_", "x"))
        except ValueError:
            pass
        else:
            if math.isfinite(number) or value in ("NaN", "Infinity", "-Infinity"):
                return number
    raise InvalidField(path, f"must be a number, not {shown(value)}.")


def _bytes(value: object, path: str) -> bytes:
    if isinstance(value, str):
        text = value.replace("-", "+").replace("_", "/").rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise InvalidField(path, f"must be bytes in base64, not {shown(value)}.")


@cache
def _enum_names(descriptor: EnumDescriptor) -> Mapping[str, int]:
    numbers = {value.name: value.number for value in descriptor.values}
    prefix = descriptor.values[0].name.removesuffix("UNSPECIFIED")
    short = {name.removeprefix(prefix).lower(): number for name, number in numbers.items() if number}
    return {**short, **numbers}


def _enum(value: object, path: str, descriptor: EnumDescriptor) -> int:
    names = _enum_names(descriptor)
    if isinstance(value, str):
        number = names.get(value, names.get(value.lower()))
        if number is not None:
            return number
    elif isinstance(value, int) and not isinstance(value, bool) and value in descriptor.values_by_number:
        return value
    listed = ", ".join(one.name for one in descriptor.values if one.number)
    raise InvalidField(path, f"{shown(value)} is none of {listed}.")


def _read_struct(value: object, message: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise InvalidField(path, f"must be a JSON object, not {shown(value)}.")
    fill_struct(value, message, path)


def _fill_value(value: object, target: struct_pb2.Value, path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidField(path[:200], f"is nested deeper than {_DEEPEST} levels.")
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        for key, content in value.items():
            _fill_value(content, target.struct_value.fields[key], f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        target.list_value.SetInParent()
        for index, content in enumerate(value):
            _fill_value(content, target.list_value.values.add(), f"{path}[{index}]", depth + 1)


def _read_with_library(value: Any, message: Message, path: str) -> None:
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, TypeError, ValueError, AttributeError):
        kind = message.DESCRIPTOR.name
        raise InvalidField(path, f"{shown(value)} is no {kind}. {_EXAMPLES.get(kind, '')}".rstrip()) from None


def _read_mask(value: object, message: FieldMask, path: str) -> None:
    """Paths with names of either kind, as everywhere; JSON's own form has lowerCamelCase alone."""
    given = _SNAKE.sub(lambda found: found[1].upper(), value) if isinstance(value, str) else value
    _read_with_library(given, message, path)


_SNAKE = re.compile(r"_([a-z0-9])")
_EXAMPLES = {
    "Timestamp": "Write it like 2026-03-27T14:53:00Z.",
    "Duration": "Write it in seconds, like 3600s.",
    "FieldMask": "Write it like description,labels.",
}
_WELL_KNOWN: dict[str, Callable[[object, Any, str], None]] = {
    "google.protobuf.Struct": _read_struct,
    "google.protobuf.FieldMask": _read_mask,
    "google.protobuf.Value": lambda value, message, path: _fill_value(value, message, path, 1),
}


def _names(descriptor: Any) -> str:
    names = [field.json_name for field in descriptor.fields]
    return ", ".join(names) or "none"
