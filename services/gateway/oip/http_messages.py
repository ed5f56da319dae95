"""Inference requests and answers as HTTP bodies: JSON, with the elements of tensors behind it where they are binary.

Binary tensors (Triton's extension): the header `Inference-Header-Content-Length` is the length of the JSON, and the
elements of every tensor with a parameter `binary_data_size` follow it, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.common.errors import InvalidField
from services.gateway.inference.prediction import Answer
from services.gateway.json_reading import shown
from services.gateway.json_text import refuse_twice
from services.gateway.oip import answering, names
from services.gateway.oip.asking import ALL, ALL_BINARY, Asked, Columns, Wanted, limit_time, paths, refuse_shared_memory, wanted
from services.gateway.oip.tensors import from_json, from_raw, rows_of, to_raw

_NONE: Mapping[str, Any] = {}


def read(model: str, version: str, body: bytes, header_length: str) -> Asked:
    """`header_length` is the header's value, empty where it wasn't sent. Raises `InvalidField`, `Unsupported`."""
    named = names.read(model, version)
    head, tail = _split(body, header_length)
    sent = parse(head)
    parameters = _object(sent.get("parameters"), "parameters")
    columns = Columns()
    at = 0
    for index, tensor in enumerate(_objects(sent.get("inputs"), "inputs")):
        at = _read_tensor(tensor, index, columns, tail, at)
    if at != len(tail):
        raise InvalidField("body", f"has {len(tail) - at} bytes behind its last binary tensor.")
    limit_time(parameters.get("timeout"))
    binary = parameters.get("binary_data_output") is True
    outputs = sent.get("outputs")
    if not outputs:
        chosen: Any = ALL_BINARY if binary else ALL
    else:
        chosen = [_wanted(one, f"outputs[{i}]", binary) for i, one in enumerate(_objects(outputs, "outputs"))]
    return Asked(named, model, _text(sent.get("id"), "id"), columns.rows(len(body)), chosen, raw=False)


def write(asked: Asked, made: Answer) -> tuple[bytes, int]:
    """The body, and the length of its JSON; 0 where nothing is binary."""
    answer: dict[str, Any] = {"model_name": asked.name, "model_version": str(made.loaded.target.number)}
    if asked.id:
        answer["id"] = asked.id
    answer["parameters"] = answering.parameters(made)
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for one, output in zip(asked.wanted, answering.outputs(made, asked.wanted), strict=True):
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if one.binary:
            binary.append(to_raw(output))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = output.values if isinstance(output.values, list) else output.values.ravel()
        tensors.append(tensor)
    answer["outputs"] = tensors
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *binary)), len(head)) if binary else (head, 0)


def parse(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises `InvalidField`."""
    try:
        sent = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidField("body", f"isn't JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    if type(sent) is not dict:
        raise InvalidField("body", f"must be a JSON object, not {shown(sent)}.")
    refuse_twice(content, sent)
    return sent


def _split(body: bytes, header_length: str) -> tuple[bytes, bytes]:
    if not header_length:
        return body, b""
    if not header_length.isascii() or not header_length.isdigit() or int(header_length[:12]) > len(body):
        raise InvalidField("Inference-Header-Content-Length", f"{shown(header_length)} isn't the length of the body's JSON.")
    length = int(header_length)
    return body[:length], body[length:]


def _read_tensor(tensor: Mapping[str, Any], index: int, columns: Columns, tail: bytes, at: int) -> int:
    """Adds a tensor to the columns; answers where the next binary one begins."""
    path = paths(index)
    name, datatype = _text(tensor.get("name"), path.name), _text(tensor.get("datatype"), path.datatype)
    shape = tensor.get("shape")
    if type(shape) is not list or set(map(type, shape)) != {int}:
        raise InvalidField(path.shape, "must be a JSON array of whole numbers, like [1].")
    count = rows_of(shape, path.shape)
    columns.add(name, count, path.tensor)
    parameters = tensor.get("parameters")
    if parameters:
        refuse_shared_memory(_object(parameters, f"{path.tensor}.parameters"), path.tensor)
        size = parameters.get("binary_data_size")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail) - at:
                problem = f"{shown(size)} isn't a number of bytes that the body has behind its JSON."
                raise InvalidField(f"{path.tensor}.parameters.binary_data_size", problem)
            columns.cells[name] = from_raw(tail[at : at + size], datatype, count, path.data)
            return at + size
    columns.cells[name] = from_json(tensor.get("data"), datatype, count, path.data)
    return at


def _wanted(sent: Mapping[str, Any], path: str, binary: bool) -> Wanted:
    parameters = _object(sent.get("parameters"), f"{path}.parameters")
    refuse_shared_memory(parameters, path)
    return wanted(
        _text(sent.get("name"), f"{path}.name"), parameters.get("classification"), path,
        binary=parameters.get("binary_data", binary) is True,
    )  # fmt: skip


def _objects(sent: object, path: str) -> list[dict[str, Any]]:
    if sent is None:
        return []
    if type(sent) is not list or not all(type(one) is dict for one in sent):
        raise InvalidField(path, "must be a JSON array of tensors, which are objects.")
    return sent


def _object(sent: object, path: str) -> Mapping[str, Any]:
    if sent is None:
        return _NONE
    if type(sent) is not dict:
        raise InvalidField(path, f"must be a JSON object, not {shown(sent)}.")
    return sent


def _text(sent: object, path: str) -> str:
    if sent is None:
        return ""
    if type(sent) is not str:
        raise InvalidField(path, f"must be a string, not {shown(sent)}.")
    return sent
