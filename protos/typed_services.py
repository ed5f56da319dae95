"""Writes `regrow/aio/services.py`: one typed class for each public service, with one object for each of its rpcs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

_ATTRIBUTES = {
    "AnnotationService": "annotation",
    "AuditService": "audit",
    "FeedbackLedgerService": "feedback_ledger",
    "FeedbackService": "feedback",
    "Operations": "operations",
    "OperationService": "operation_starts",
    "ProblemSpecService": "specs",
    "SystemService": "system",
}
"""Names in the client that the plural of the service's noun isn't."""

_WIDTH = 128
_OPERATIONS = "google.longrunning"
"""Google's standard service, public as it is (AIP-151)."""

Docs = Mapping[tuple[str, tuple[int, ...]], str]


def services_source(image: Path) -> str:
    """The module's text, from a descriptor set with source information."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    modules = {f".{file.package}.{message.name}": file.name for file in files.file for message in file.message_type}
    docs = {
        (file.name, tuple(location.path)): " ".join(location.leading_comments.split())
        for file in files.file for location in file.source_code_info.location if location.leading_comments
    }  # fmt: skip
    classes, attributes, used = [], [], set[str]()
    for file, index, service in _public(files):
        names = [name for m in service.method for name in (m.input_type, m.output_type) if _is_public(m)]
        used |= {modules[name] for name in names} | {modules[item] for m in service.method if (item := _item(files, m))}
        classes.append(_class(files, file, index, service, modules, docs))
        attributes.append(f"        self.{attribute_of(service.name)} = Async{service.name}(channel, calls)")
    return "\n".join([_HEAD, *_imports(used), "", "", *classes, _ALL, *attributes, ""])


def attribute_of(service: str) -> str:
    """`datasets` for `DatasetService`: where the client keeps it."""
    noun = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", service.removesuffix("Service")).lower()
    plural = re.sub(r"(?<![aeiou])y$", "ie", noun) + ("es" if noun.endswith("s") else "s")
    return _ATTRIBUTES.get(service, plural)


_HEAD = '''"""Every public service, typed: `client.datasets.GetDataset(request)`. Made by `make protos` from the protos."""

from __future__ import annotations

import grpc.aio
from regrow.aio.calling import (
    AsyncBothStream,
    AsyncCalls,
    AsyncClientStream,
    AsyncPaged,
    AsyncServerStream,
    AsyncUnary,
)
'''
_ALL = '''class AsyncServices:
    """All of them, over one channel."""

    def __init__(self, channel: grpc.aio.Channel, calls: AsyncCalls) -> None:'''


def _public(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, int, descriptor_pb2.ServiceDescriptorProto]]:
    for file in files.file:
        for index, service in enumerate(file.service):
            if (file.package.startswith("regrow.") and any(map(_is_public, service.method))) or file.package == _OPERATIONS:
                yield file.name, index, service


def _is_public(method: descriptor_pb2.MethodDescriptorProto) -> bool:
    standard = method.input_type.startswith(f".{_OPERATIONS}.")
    return bool(method.options.HasExtension(annotations_pb2.http)) or standard


def _class(
    files: descriptor_pb2.FileDescriptorSet, file: str, index: int, service: descriptor_pb2.ServiceDescriptorProto,
    modules: Mapping[str, str], docs: Docs,
) -> str:  # fmt: skip
    package = next(one.package for one in files.file if one.name == file)
    lines = [
        f"class Async{service.name}:", *_docstring(docs.get((file, (6, index)), ""), 4), "",
        "    def __init__(self, channel: grpc.aio.Channel, calls: AsyncCalls) -> None:",
    ]  # fmt: skip
    for number, method in enumerate(service.method):
        if _is_public(method):
            request, response = _type(method.input_type, modules), _type(method.output_type, modules)
            item = _item(files, method)
            kind, types = _kind(method, item is not None), [request, response, *([_type(item, modules)] if item else [])]
            path = f"/{package}.{service.name}/{method.name}"
            lines += [
                f"        self.{method.name}: {kind}[{', '.join(types)}] = {kind}(",
                f'            channel, calls, "{path}", {request}, {response})',
                *_docstring(docs.get((file, (6, index, 2, number)), ""), 8),
            ]  # fmt: skip
    return "\n".join([*lines, "", ""])


def _docstring(text: str, indent: int) -> list[str]:
    """The comment as a docstring: on one line where it fits."""
    pad = " " * indent
    lines = textwrap.wrap(text, _WIDTH - indent - 6)
    if len(lines) <= 1:
        return [f'{pad}"""{text}"""']
    return [f'{pad}"""{lines[0]}', *(pad + line for line in lines[1:]), f'{pad}"""']


def _kind(method: descriptor_pb2.MethodDescriptorProto, paged: bool) -> str:
    if method.client_streaming:
        return "AsyncBothStream" if method.server_streaming else "AsyncClientStream"
    return "AsyncServerStream" if method.server_streaming else "AsyncPaged" if paged else "AsyncUnary"


def _item(files: descriptor_pb2.FileDescriptorSet, method: descriptor_pb2.MethodDescriptorProto) -> str | None:
    """The type of a list's entries; None for a call that isn't one."""
    response = next(
        (m for f in files.file for m in f.message_type if f".{f.package}.{m.name}" == method.output_type), None
    )  # fmt: skip
    if response is None or not any(field.name == "next_page_token" for field in response.field):
        return None
    message, repeated = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    return next(field.type_name for field in response.field if field.type == message and field.label == repeated)


def _type(name: str, modules: Mapping[str, str]) -> str:
    return f"{_alias(modules[name])}.{name.rpartition('.')[2]}"


def _alias(file: str) -> str:
    return "longrunning_pb2" if file.startswith("google/longrunning/") else f"{Path(file).stem}_pb2"


def _imports(files: set[str]) -> Iterator[str]:
    for file in sorted(files):
        module = f"{Path(file).stem}_pb2"
        yield f"from {'.'.join(Path(file).parts[:-1])} import {module}{'' if module == _alias(file) else f' as {_alias(file)}'}"
