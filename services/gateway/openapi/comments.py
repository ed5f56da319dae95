"""The comments of the protos, by full name: what the document says of each message, field, value and call."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

import regrow

_PACKAGES = ("regrow.", "google.longrunning")


@cache
def comments() -> dict[str, str]:
    """The leading comment of every message, field, enum, value, service and rpc, by full name."""
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString((Path(next(iter(regrow.__path__))) / "api.binpb").read_bytes())
    found: dict[str, str] = {}
    for file in files.file:
        if file.package.startswith(_PACKAGES):
            for location in file.source_code_info.location:
                if location.leading_comments and (name := _name_at(file, list(location.path))):
                    found[name] = " ".join(line.strip() for line in location.leading_comments.strip().splitlines())
    return found


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The full name of what a path in the file's descriptor leads to; empty for what has no name."""
    node: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = node.DESCRIPTOR.fields_by_number.get(number)
        if field is None or not field.is_repeated or field.message_type is None:
            return ""
        node = getattr(node, field.name)[index]
        if "name" not in node.DESCRIPTOR.fields_by_name:
            return ""
        name = f"{name}.{node.name}"
    return name if len(path) % 2 == 0 and path else ""
