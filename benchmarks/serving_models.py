"""Models of the sizes that people serve, made without training, for benchmarks of serving: their weights are random.

`terms`: 30,000 TF-IDF terms and a linear layer, as `brew` makes them. `dense`: 24 numbers through three layers of 1,024.
`encoder`: the real MiniLM, exported as training does, and a linear layer on its vectors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "gateway")]

from services.common.bundle import Input, Manifest, write_bundle  # noqa: E402
from services.common.bundle.decision import Decision  # noqa: E402
from services.common.bundle.manifest import GRAPH, ReaderEntry  # noqa: E402
from services.common.bundle.table import Number, Table  # noqa: E402
from services.common.bundle.terms import Terms  # noqa: E402
from services.common.objects.port import ObjectStore  # noqa: E402
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, Task, check  # noqa: E402

CLASSES = ("calm", "cross", "glad")
NUMBERS = tuple(f"n{i}" for i in range(24))
_WIDTH, _TERMS, _VECTOR = 1024, 30_000, 384
_WORDS = ("soft", "dress", "size", "small", "returned", "perfect", "colour", "sleeve", "summer", "cheap", "love", "fabric")


def row_of(kind: str, number: int) -> dict[str, Any]:
    """A row that the model of that kind reads; each number another one."""
    chance = np.random.default_rng(number)
    if kind == "dense":
        return {name: round(float(value), 3) for name, value in zip(NUMBERS, chance.normal(size=len(NUMBERS)), strict=True)}
    words = 12 if kind == "encoder" else 40
    return {"text": " ".join(chance.choice(_WORDS, size=words).tolist())}


def terms_bundle(objects: ObjectStore, seed: int, _: Path) -> str:
    """The digest of a linear model of words."""
    terms = Terms(
        terms=tuple(f"{_WORDS[i % len(_WORDS)]}{i // len(_WORDS) or ''}" for i in range(_TERMS)), weights=np.ones(_TERMS)
    )
    from gateway_world import _graph

    weights = np.random.default_rng(seed).normal(size=(_TERMS, len(CLASSES))).astype(np.float32)
    parts = {GRAPH: _graph(weights), "terms.json": terms.to_json()}
    reader = ReaderEntry(modality="text", kind="terms", columns=("text",), parts=("terms.json",))
    return _stored(objects, parts, reader, [Input(name="text", kind="text")])


def dense_bundle(objects: ObjectStore, seed: int, _: Path) -> str:
    """The digest of a feed-forward net on numbers."""
    table = Table(numbers=tuple(Number(name=name, center=0.0, scale=1.0) for name in NUMBERS))
    sizes = (len(NUMBERS), _WIDTH, _WIDTH, _WIDTH, len(CLASSES))
    parts = {GRAPH: _layers("table", sizes, seed), "table.json": table.to_json()}
    reader = ReaderEntry(modality="table", kind="table", columns=NUMBERS, parts=("table.json",))
    return _stored(objects, parts, reader, [Input(name=name, kind="numeric") for name in NUMBERS])


def encoder_bundle(objects: ObjectStore, seed: int, cache: Path) -> str:
    """The digest of a linear layer on MiniLM's vectors; all such bundles share the encoder."""
    from services.training.designs import Design, Text
    from services.training.representations.transformer import GRAPH as ENCODER
    from services.training.representations.transformer import TOKENIZER, open_encoder

    cache.mkdir(parents=True, exist_ok=True)
    exported = open_encoder(Design(text=Text.MINILM), objects, cache, None)
    parts = {GRAPH: _layers("text", (_VECTOR, len(CLASSES)), seed), ENCODER: exported.files[0], TOKENIZER: exported.files[1]}
    reader = ReaderEntry(
        modality="text", kind="vectors", columns=("text",), parts=(ENCODER, TOKENIZER), longest=exported.longest
    )
    return _stored(objects, parts, reader, [Input(name="text", kind="text")])


BUNDLES: Mapping[str, Callable[[ObjectStore, int, Path], str]] = {
    "terms": terms_bundle,
    "dense": dense_bundle,
    "encoder": encoder_bundle,
}


def _layers(name: str, sizes: tuple[int, ...], seed: int) -> bytes:
    """`(rows, sizes[0])` to `(rows, 1, sizes[-1])` by linear layers with ReLU between."""
    chance, nodes, weights, at = np.random.default_rng(seed), [], [], name
    for i, (wide, out) in enumerate(pairwise(sizes)):
        weights.append(numpy_helper.from_array((chance.normal(size=(wide, out)) / np.sqrt(wide)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"z{i}"]))
        at = f"z{i}"
        if i < len(sizes) - 2:
            nodes.append(helper.make_node("Relu", [at], [f"a{i}"]))
            at = f"a{i}"
    nodes.append(helper.make_node("Unsqueeze", [at, "one"], ["logits"]))
    graph = helper.make_graph(
        nodes, "layers", [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", sizes[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, sizes[-1]])],
        [*weights, numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _stored(objects: ObjectStore, parts: Mapping[str, bytes | Path], reader: ReaderEntry, inputs: list[Input]) -> str:
    spec = check(
        ProblemSpec(
            name="projects/shop/problemSpecs/mood", dataset="projects/shop/datasets/mail", task=Task.SINGLE_LABEL,
            classes=tuple(ClassDefinition(name=c) for c in CLASSES),
            inputs=tuple(InputColumn(name=i.name, kind=i.kind) for i in inputs),
        )
    )  # fmt: skip
    manifest = Manifest(
        spec=spec, inputs=tuple(inputs), readers=(reader,), heads=(reader.modality,), decision=Decision(weights=(1.0,)),
        design={"template": "benchmark"},
    )  # fmt: skip
    return write_bundle(objects, parts, manifest)
