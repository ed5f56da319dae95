"""Graphs and bundles: what was trained, in the form that is served, checked against each other on real rows."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.common.bundle.features import Feature
from services.training.linear import Weights

if TYPE_CHECKING:
    import torch

    from services.training.network import Network

OPSET = 18


def linear_graph(weights: Weights) -> bytes:
    """`text_index (rows, longest)`, `text_value (rows, longest)`, `table (rows, width)` -> `logits (rows, 1, classes)`.

    Only the terms that a row has are gathered, so a prediction costs its own terms, not the vocabulary.
    """
    nodes, inputs, constants, summands = [], [], {"bias": weights.bias}, ["bias"]
    if weights.text.size:
        constants["text"] = weights.text
        inputs += [
            helper.make_tensor_value_info("text_index", TensorProto.INT64, ["rows", "longest"]),
            helper.make_tensor_value_info("text_value", TensorProto.FLOAT, ["rows", "longest"]),
        ]
        nodes += [
            helper.make_node("Gather", ["text", "text_index"], ["gathered"], axis=0),  # (rows, longest, classes)
            helper.make_node("Unsqueeze", ["text_value", "one"], ["row_of_values"]),  # (rows, 1, longest)
            helper.make_node("MatMul", ["row_of_values", "gathered"], ["summed"]),  # (rows, 1, classes)
            helper.make_node("Squeeze", ["summed", "one"], ["from_text"]),
        ]
        summands.append("from_text")
    if weights.table.size:
        constants["columns"] = weights.table
        inputs.append(helper.make_tensor_value_info("table", TensorProto.FLOAT, ["rows", weights.table.shape[0]]))
        nodes.append(helper.make_node("MatMul", ["table", "columns"], ["from_table"]))
        summands.append("from_table")
    for i, name in enumerate(summands[1:], start=1):
        before = "bias" if i == 1 else f"sum_{i - 1}"
        nodes.append(helper.make_node("Add", [before, name], [f"sum_{i}"]))
    nodes.append(helper.make_node("Unsqueeze", [f"sum_{len(summands) - 1}", "one"], ["logits"]))
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1, len(weights.bias)])
    stored = [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in constants.items()]
    stored.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "one"))
    graph = helper.make_graph(nodes, "brew", inputs, [output], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def network_graph(network: Network, example: Mapping[str, Feature]) -> bytes:
    """The network's inputs by name -> `logits (rows, heads, classes)`, with any number of rows and any length of text."""
    import torch

    from services.training.network import tensors

    inputs = tensors(example)
    names = network.inputs
    rows = torch.export.Dim("rows", min=1)
    ragged = {name: torch.export.Dim("longest", min=1) for name in names if _has_length(name, inputs)}
    shapes = tuple({0: rows, 1: ragged[name]} if name in ragged else {0: rows} for name in names)
    return onnx_of(
        by_position(network),
        tuple(_long_enough(inputs[name], name in ragged) for name in names),
        list(names),
        (shapes,),
        "logits",
    )


def by_position(network: Network) -> torch.nn.Module:
    """The network as a module of positional tensors, as the exporter wants it."""
    import torch

    class ByPosition(torch.nn.Module):
        """Names the tensors again and calls the network."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            """The network's logits."""
            answer: torch.Tensor = self.network(dict(zip(network.inputs, tensors, strict=True)))
            return answer

    return ByPosition()


def onnx_of(
    module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], names: list[str], shapes: tuple[Any, ...], output: str
) -> bytes:
    """Exports a module with torch's exporter, quietly, as one self-contained file."""
    import torch

    module.eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_loggers(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, arguments, dynamo=True, dynamic_shapes=shapes, input_names=names, output_names=[output],
            opset_version=OPSET, verbose=False, optimize=True,
        )  # fmt: skip
        assert program is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            program.save(str(path), external_data=False)
            return path.read_bytes()


def _has_length(name: str, inputs: Mapping[str, torch.Tensor]) -> bool:
    return name.startswith("text") and (name != "text" or not inputs[name].is_floating_point())


def _long_enough(tensor: torch.Tensor, ragged: bool) -> torch.Tensor:
    """At least two rows and two places, for a dimension of 1 would be taken for a constant."""
    import torch

    if tensor.shape[0] < 2:
        tensor = tensor.repeat(2, *([1] * (tensor.dim() - 1)))
    return torch.nn.functional.pad(tensor, (0, 2 - tensor.shape[1])) if ragged and tensor.shape[1] < 2 else tensor


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """The exporter logs its own progress at warning level."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
