"""What a hostile or broken caller sends, by the type of the field; shared by the gRPC and the REST suite."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

TEXTS = (
    "", " \t\n", "\0", "a\0b", "\ufeffbom", "\u202eevil\u2066", "😀" * 300, "\x1b[31mred", "../../../../etc/passwd",
    "/etc/passwd",
    "projects/../../x", "projects/default", "projects/default/models/'; DROP TABLE ledger; --", "%00%2e%2e", "-1", "NaN",
    "${jndi:ldap://127.0.0.1/x}", "{{7*7}}", "(a+)+$", "[", "x" * 70_000, "projects/" + "a/" * 2_000,
)  # fmt: skip
FLOATS = (math.nan, math.inf, -math.inf, -1.0, 1.7e308, 5e-324)
BYTES = (b"", b"\0" * 1000, b"\xff\xfe\xfd", b"PK\x03\x04" + b"\0" * 100, b"\x1f\x8b\x08" + b"\xff" * 100)
TIMES = (
    (-(1 << 62), 0),
    (1 << 62, 0),
    (0, -1),
    (0, 2_000_000_000),
    (253_402_300_800, 0),
    (315_576_000_000, 0),
    (-62_135_596_801, 0),
)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-1, 1, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_INT64: (-1, 1, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_UINT32: (1, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (1, 2**64 - 1),
}
_DEEPEST = 2
_A_FIELD = 8
"""Values that one field gets."""

Chosen = TypeVar("Chosen")


class Effort:
    """How much is tried: `times` as many values at each place as CI tries, until it is all of them."""

    times = 1


def some(values: Sequence[Chosen], count: int, place: str) -> Sequence[Chosen]:
    """A few of the values: others at each place, so that over all routes and fields every one is sent many times."""
    count *= Effort.times
    start, step = zlib.crc32(place.encode()), next(step for step in (7, 11, 13) if len(values) % step)
    return [values[(start + step * number) % len(values)] for number in range(min(count, len(values)))]


def hostile_requests(good: Callable[[], Message], within: str = "") -> Iterator[tuple[str, Message]]:
    """The request with one field after the other made hostile, and which it is; only fields `within` the one named."""
    base = good()
    for path, change in _changes(base.DESCRIPTOR, base, (), 0):
        if path.startswith(within):
            request = good()
            change(request)
            yield path, request


def _changes(descriptor: Any, base: Any, parents: tuple[str, ...], depth: int) -> Iterator[tuple[str, Any]]:
    """`base` is the good message at the place, None where there is none."""
    for field in descriptor.fields:
        path = ".".join((*parents, field.name))
        for value in _values(field):
            yield f"{path}={_shown(value)}", _setter(parents, field, value)
        inner = field.message_type
        if inner is None or depth >= _DEEPEST or inner.full_name.startswith("google.") or inner.GetOptions().map_entry:
            continue
        if _is_open(field, base):
            yield from _changes(inner, _at(base, field), (*parents, field.name), depth + 1)


def _is_open(field: Any, base: Any) -> bool:
    """Whether what is inside matters: not where the good message has another member of the same oneof."""
    choice = field.containing_oneof
    return base is None or choice is None or base.WhichOneof(choice.name) in (None, field.name)


def _at(base: Any, field: Any) -> Any:
    if base is None:
        return None
    found = getattr(base, field.name)
    return next(iter(found), None) if field.is_repeated else found


def _values(field: Any) -> Iterator[Any]:
    """Values for a field; for a repeated one, lists of them."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield {key: _one(field.message_type.fields_by_name["value"]) for key in TEXTS[1:10]}
        return
    singles = list(_singles(field))
    if not field.is_repeated:
        yield from some(singles, _A_FIELD, field.full_name)
        return
    yield singles[:40]
    yield singles[:1] * 10_050
    yield [singles[0], singles[0]]


def _one(field: Any) -> Any:
    return next(iter(_singles(field)))


def _singles(field: Any) -> Iterator[Any]:
    if field.message_type is not None:
        yield from _messages(field.message_type)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        yield from BYTES
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        yield from TEXTS
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        yield True
    elif field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        yield from (999, -1, max(field.enum_type.values_by_number))
    elif field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        yield from (FLOATS if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else FLOATS[:4])
    else:
        yield from _INTEGERS[field.cpp_type]


def _messages(descriptor: Any) -> Iterator[Message]:
    from google.protobuf.message_factory import GetMessageClass

    kind = GetMessageClass(descriptor)
    if descriptor.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        yield from (kind(seconds=seconds, nanos=nanos) for seconds, nanos in TIMES)
    elif descriptor.full_name == "google.protobuf.FieldMask":
        yield from (kind(paths=[path]) for path in ("*", "..", "nope.nope", "\0", "a" * 1000, ""))
    elif descriptor.full_name == "google.protobuf.Struct":
        yield from _structs(kind)
    else:
        yield kind()
        filled = kind()
        for field in descriptor.fields:
            if field.message_type is None and not field.is_repeated:
                setattr(filled, field.name, "\0x\ud7ff" if field.type == FieldDescriptor.TYPE_STRING else _one(field))
        yield filled


def _structs(kind: Any) -> Iterator[Message]:
    deep, wide, odd = kind(), kind(), kind()
    inner = deep
    for _ in range(30):
        inner = inner.fields["a"].struct_value
    wide.update({f"column {number}": number for number in range(2_000)})
    odd.update({"": "", "\0": "\0", "big": "x" * 200_000, "list": [None, True, ["a"] * 50], "text": {"a": 1}, "😀": "😀"})
    odd.fields["nan"].number_value, odd.fields["inf"].number_value = math.nan, math.inf
    odd.fields["unset"].Clear()
    yield from (kind(), deep, wide, odd)


def _setter(parents: tuple[str, ...], field: Any, value: Any) -> Any:
    def change(request: Any) -> None:
        owner = request
        for name in parents:
            owner = getattr(owner, name)
            if isinstance(owner, Message):
                owner.SetInParent()
            else:
                owner = owner[0] if owner else owner.add()
        if isinstance(value, Mapping) and not isinstance(value, Message):
            for key, one in value.items():
                if isinstance(one, Message):
                    getattr(owner, field.name)[key].CopyFrom(one)
                else:
                    getattr(owner, field.name)[key] = one
        elif field.is_repeated:
            owner.ClearField(field.name)
            getattr(owner, field.name).extend(value)
        elif field.message_type is not None:
            getattr(owner, field.name).CopyFrom(value)
        else:
            setattr(owner, field.name, value)

    return change


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) < 60 else f"{text[:57]}... ({len(text)})"


JSON_VALUES = (
    "null", "true", "-1", "1e999", "99999999999999999999999999", "0.1", '""', '"x"', "[]", "[[]]", "[null]", "{}", '{"a": 1}',
    '"\\u0000"', '"\\ud800"', '"' + "x" * 70_000 + '"', "[" * 3_000 + "]" * 3_000, '{"a":' * 3_000 + "1" + "}" * 3_000,
)  # fmt: skip
"""JSON texts for any field."""

BODIES: dict[str, bytes] = {
    "nothing": b"", "blank": b"   ", "cut": b'{"feedback": [', "no JSON": b"<xml/>", "NaN": b'{"a": NaN}',
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"), "not UTF-8": b'{"a": "\xff\xfe"}',
    "NUL": b"\0" * 100, "a list": b"[]", "a number": b"7",
    "a text": b'"x"', "null": b"null", "deep": b"[" * 100_000, "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a key twice": b'{"parent": "a", "parent": "b"}', "unknown field": b'{"nonsense": 1}', "__proto__": b'{"__proto__": {}}',
    "a 5 MB cell": b'{"rows": [{"text": "' + b"x" * (5 << 20) + b'"}]}',
    "10,000 classes": b'{"classes": [' + b",".join(b'{"name": "c%d"}' % n for n in range(10_000)) + b"]}",
}  # fmt: skip
