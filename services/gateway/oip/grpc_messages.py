"""Inference requests and answers as gRPC messages: elements raw or typed, answered as they were asked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from services.common.errors import InvalidField
from services.gateway.inference.prediction import Answer
from services.gateway.oip import answering, names
from services.gateway.oip.asking import ALL, Asked, Columns, Wanted, limit_time, paths, refuse_shared_memory, wanted
from services.gateway.oip.stubs import grpc_service_pb2
from services.gateway.oip.tensors import CONTENTS, Output, from_contents, from_raw, rows_of, to_list, to_raw


def read(request: grpc_service_pb2.ModelInferRequest, size: int) -> Asked:
    """Raises `InvalidField`, `Unsupported`."""
    named = names.read(request.model_name, request.model_version, "model_name")
    for index, tensor in enumerate(request.inputs):
        if tensor.parameters:  # first, for what lies in shared memory isn't counted among the raw contents
            refuse_shared_memory(tensor.parameters, paths(index).tensor)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidField("raw_input_contents", f"has {len(raw)} elements, and there are {len(request.inputs)} inputs.")
    columns = Columns()
    for index, tensor in enumerate(request.inputs):
        path, name = paths(index), tensor.name
        count = rows_of(tensor.shape, path.shape)
        columns.add(name, count, path.tensor)
        if raw:
            if tensor.HasField("contents") and tensor.contents.ListFields():
                raise InvalidField(path.contents, "is there beside raw_input_contents: send the elements in one of the two.")
            columns.cells[name] = from_raw(raw[index], tensor.datatype, count, path.raw)
        else:
            columns.cells[name] = from_contents(tensor.contents, tensor.datatype, count, path.contents)
    if request.parameters:
        limit_time(value_of(request.parameters.get("timeout")))
    outputs = [_wanted(one, f"outputs[{index}]") for index, one in enumerate(request.outputs)] or ALL
    return Asked(named, request.model_name, request.id, columns.rows(size), outputs, bool(raw))


def write(asked: Asked, made: Answer) -> bytes:
    """The answer, serialized: in front what all answers of this form have in common, for messages in a row are one message."""
    outputs = answering.outputs(made, asked.wanted)
    response = grpc_service_pb2.ModelInferResponse(id=asked.id)
    for name, value in answering.parameters(made).items():
        response.parameters[name].string_param = value
    if asked.raw:
        response.raw_output_contents.extend([to_raw(output) for output in outputs])
        forms = tuple([(output.name, output.datatype, output.shape) for output in outputs])
    else:
        forms = ()
        for output in outputs:
            _fill(response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape).contents, output)
    content: bytes = _head(asked.name, made.loaded.target.number, forms) + response.SerializeToString()
    return content


@lru_cache(maxsize=1024)
def _head(model: str, version: int, forms: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """The model's name and version, and the outputs without their elements."""
    response = grpc_service_pb2.ModelInferResponse(model_name=model, model_version=str(version))
    for name, datatype, shape in forms:
        response.outputs.add(name=name, datatype=datatype, shape=shape)
    content: bytes = response.SerializeToString()
    return content


def value_of(parameter: Any) -> object:
    """The value of an `InferParameter` or `ModelRepositoryParameter`; None for none."""
    kind = parameter.WhichOneof("parameter_choice") if parameter is not None else None
    return getattr(parameter, kind) if kind else None


def _wanted(sent: grpc_service_pb2.ModelInferRequest.InferRequestedOutputTensor, path: str) -> Wanted:
    if not sent.parameters:
        return wanted(sent.name, None, path)
    refuse_shared_memory(sent.parameters, path)
    return wanted(sent.name, value_of(sent.parameters.get("classification")), path)


def _fill(contents: Any, output: Output) -> None:
    values = to_list(output)
    if output.datatype == "BYTES":
        values = [value.encode() for value in values]
    getattr(contents, CONTENTS[output.datatype]).extend(values)
