"""ONNX graphs written node by node: the linear model, and networks of dense layers.

Milliseconds, where torch's exporter takes seconds to load and to trace; `bundling.verify` holds every graph against its model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.training.linear import Weights

if TYPE_CHECKING:
    from torch import nn

    from services.training.network import Network

OPSET = 18
IR_VERSION = 10

Array = npt.NDArray[np.float32]


class Graph:
    """A graph in the making; every method answers the name of the tensor that it made."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = [numpy_helper.from_array(np.array([1], dtype=np.int64), "axis_1")]
        self._count = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator's only output."""
        self._count += 1
        name = f"{operator.lower()}_{self._count}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        """A stored tensor, in single precision."""
        self._count += 1
        name = f"stored_{self._count}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
        return name

    def dense_input(self, name: str, width: int) -> str:
        """`(rows, width)` numbers."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width]))
        return name

    def terms(self, weights: Array) -> str:
        """Inputs `text_index` and `text_value` `(rows, longest)` -> `(rows, width)`: each row's weighted sum of its terms.

        Only the terms that a row has are gathered, so a prediction costs its own terms, not the vocabulary.
        """
        shape = ["rows", "longest"]
        self._inputs.append(helper.make_tensor_value_info("text_index", TensorProto.INT64, shape))
        self._inputs.append(helper.make_tensor_value_info("text_value", TensorProto.FLOAT, shape))
        gathered = self.node("Gather", self.constant(weights), "text_index", axis=0)  # (rows, longest, width)
        values = self.node("Unsqueeze", "text_value", "axis_1")  # (rows, 1, longest)
        return self.node("Squeeze", self.node("MatMul", values, gathered), "axis_1")

    def linear(self, x: str, layer: nn.Linear) -> str:
        """`(rows, in)` -> `(rows, out)`."""
        weight, bias = (self.constant(part.detach().numpy()) for part in (layer.weight, layer.bias))
        return self.node("Gemm", x, weight, bias, transB=1)

    def layers(self, x: str, layers: nn.Sequential) -> str:
        """Linear layers and SiLU, one after another; dropout is nothing here."""
        from torch import nn

        steps: dict[type, Callable[[str, Any], str]] = {
            nn.Linear: self.linear,
            nn.SiLU: lambda y, _: self.node("Mul", y, self.node("Sigmoid", y)),
            nn.Dropout: lambda y, _: y,
        }
        for layer in layers:
            x = steps[type(layer)](x, layer)
        return x

    def built(self, logits: list[str], classes: int) -> bytes:
        """The graph with the heads' `(rows, classes)` logits stacked to `logits (rows, heads, classes)`."""
        stacked = self.node("Concat", *(self.node("Unsqueeze", one, "axis_1") for one in logits), axis=1)
        self._nodes.append(helper.make_node("Identity", [stacked], ["logits"]))
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(logits), classes])
        graph = helper.make_graph(self._nodes, "regrow", self._inputs, [output], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def linear_graph(weights: Weights) -> bytes:
    """Terms, table or both -> `logits (rows, 1, classes)`."""
    graph = Graph()
    parts = [graph.terms(weights.text.astype(np.float32))] if weights.text.size else []
    if weights.table.size:
        parts.append(graph.node("MatMul", graph.dense_input("table", len(weights.table)), graph.constant(weights.table)))
    total = graph.constant(weights.bias)
    for part in parts:
        total = graph.node("Add", part, total)
    return graph.built([total], len(weights.bias))


def dense_graph(network: Network) -> bytes:
    """A network without recurrent encoders -> `logits (rows, heads, classes)`."""
    from torch import nn

    graph = Graph()
    represented = {name: _represented(graph, encoder) for name, encoder in network.encoders.items()}
    logits = [graph.linear(x, cast(nn.Linear, network.classifiers[name])) for name, x in represented.items()]
    if network.joint is not None:
        logits.append(graph.linear(graph.node("Concat", *represented.values(), axis=1), network.joint))
    return graph.built(logits, cast(nn.Linear, next(iter(network.classifiers.values()))).out_features)


def is_dense(network: Network) -> bool:
    """Whether `dense_graph` can write it."""
    from services.training.representations.dense import TableEncoder, TermsEncoder, VectorEncoder

    return all(isinstance(encoder, TableEncoder | TermsEncoder | VectorEncoder) for encoder in network.encoders.values())


def _represented(graph: Graph, encoder: nn.Module) -> str:
    from services.training.representations.dense import TableEncoder, TermsEncoder, VectorEncoder

    match encoder:
        case TermsEncoder():
            return graph.node("Add", graph.terms(encoder.weights.numpy()), graph.constant(encoder.bias.numpy()))
        case VectorEncoder():
            scaled = graph.node("Mul", graph.dense_input("text", encoder.vector), graph.constant(encoder.scale))
            return graph.layers(scaled, encoder.layers)
        case TableEncoder(layers=None):
            return graph.dense_input("table", encoder.table)
        case TableEncoder():
            table = graph.dense_input("table", encoder.table)
            return graph.node("Concat", graph.layers(table, cast("nn.Sequential", encoder.layers)), table, axis=1)
    raise TypeError(type(encoder).__name__)
