"""Random protobuf messages of any type, made by its descriptor (hypothesis)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hostile_values import TEXTS
from hypothesis import strategies as st

_DEEPEST = 4
_WORDS = (
    *TEXTS,
    "mail",
    "text",
    "likes",
    "spam",
    "projects/default/models/mail",
    "projects/default/datasets/mail",
    "1",
    "champion",
)
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1), FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1), FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}  # fmt: skip


def messages(good: Callable[[], Message]) -> st.SearchStrategy[Message]:
    """The good message with any of its fields set to anything that its type can carry."""

    def with_fields(found: Message) -> Message:
        made = good()
        made.MergeFrom(found)
        return made

    return _of(good().DESCRIPTOR, 0).map(with_fields)


@cache
def _of(descriptor: Descriptor, depth: int) -> st.SearchStrategy[Message]:
    kind = GetMessageClass(descriptor)
    if depth >= _DEEPEST or not descriptor.fields:
        return st.builds(kind)
    changes = st.lists(st.one_of([_change(field, depth) for field in descriptor.fields]), max_size=4)
    return changes.map(lambda made: reduce(_changed, made, kind()))


def _change(field: FieldDescriptor, depth: int) -> st.SearchStrategy[tuple[FieldDescriptor, Any]]:
    value = _single(field, depth)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, content = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        value = st.dictionaries(_single(key, depth), _single(content, depth), max_size=3)
    elif field.is_repeated:
        value = st.lists(value, max_size=3)
    return st.tuples(st.just(field), value)


def _single(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return _of(field.message_type, depth + 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([*field.enum_type.values_by_number, -1, 12345])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in _BITS:
        return st.integers(*_BITS[field.cpp_type]) | st.integers(0, 20)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(width=32)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=200)
    return st.sampled_from(_WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def _changed(message: Message, change: tuple[FieldDescriptor, Any]) -> Message:
    field, value = change
    content: Any = getattr(message, field.name)
    if isinstance(value, dict):
        for key, one in value.items():
            if isinstance(one, Message):
                content[key].CopyFrom(one)
            else:
                content[key] = one
    elif isinstance(value, list):
        content.extend(value)
    elif isinstance(value, Message):
        content.CopyFrom(value)
    else:
        setattr(message, field.name, value)
    return message
