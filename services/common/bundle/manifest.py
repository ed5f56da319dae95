"""What a bundle says of itself: its parts by digest, the spec, the inputs, how to read them, and what it was made from.

The manifest is canonical JSON and names every part by sha256, so the digest of the manifest is the digest of the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from services.common.bundle.decision import Decision
from services.common.bundle.values import Input
from services.common.errors import FailedPrecondition
from services.common.spec import ProblemSpec

FORMAT = 1

GRAPH = "graph.onnx"
WEIGHTS = "weights.safetensors"
REPORT = "report.json"
NOT_SERVED = frozenset({WEIGHTS, REPORT})
"""Parts that prediction doesn't need; `Bundle.open` leaves them in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One content-addressed object of the bundle. `digest` is `sha256:<hex>`."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderEntry:
    """How a stored reader is opened. `kind`: terms, tokens, vectors or table; `longest` bounds an encoder."""

    modality: str
    kind: str
    columns: tuple[str, ...]
    parts: tuple[str, ...]
    longest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of a bundle. `verified` tells on how many real rows, and to what difference, the graph equals the network."""

    spec: ProblemSpec
    inputs: tuple[Input, ...]
    unused: tuple[str, ...] = ()
    readers: tuple[ReaderEntry, ...]
    heads: tuple[str, ...]
    decision: Decision
    design: Mapping[str, Any]
    receipt: Mapping[str, Any] = field(default_factory=dict)
    verified: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    def to_json(self) -> bytes:
        """Canonical JSON: equal manifests have equal bytes."""
        raw = {"format": FORMAT, **asdict(self), "spec": json.loads(self.spec.to_json())}
        return json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Inverse of `to_json`. Raises `FailedPrecondition` where a later Regrow wrote it."""
        raw: dict[str, Any] = json.loads(content)
        if raw.pop("format", None) != FORMAT:
            raise FailedPrecondition(
                "The bundle has a format that this version doesn't read. Upgrade it.", reason="BUNDLE_FORMAT"
            )
        decision = dict(raw["decision"])
        decision["weights"] = tuple(decision["weights"])
        decision["thresholds"] = None if decision["thresholds"] is None else tuple(decision["thresholds"])
        return cls(
            spec=ProblemSpec.from_json(raw["spec"]),
            inputs=tuple(Input(**i) for i in raw["inputs"]),
            unused=tuple(raw["unused"]),
            readers=tuple(
                ReaderEntry(**{**r, "columns": tuple(r["columns"]), "parts": tuple(r["parts"])}) for r in raw["readers"]
            ),
            heads=tuple(raw["heads"]),
            decision=Decision(**decision),
            design=raw["design"],
            receipt=raw["receipt"],
            verified=raw["verified"],
            parts=tuple(Part(**p) for p in raw["parts"]),
        )
