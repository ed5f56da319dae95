"""Graphs that torch's own exporter writes: recurrent networks and frozen encoders."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.common.bundle.features import Feature
from services.training.graphs import OPSET

if TYPE_CHECKING:
    import torch

    from services.training.network import Network


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
