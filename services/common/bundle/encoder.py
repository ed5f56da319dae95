"""A frozen sentence encoder: text in, one vector out, by `tokenizers` and ONNX Runtime.

Training caches these vectors and serving computes them with the same code and graph, so both sides see the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

Vectors = npt.NDArray[np.float32]

_BATCH = 32


def open_session(graph: bytes | str, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on `threads` threads: on a busy machine one thread a call gives the steadiest latency.

    More threads sleep between calls rather than spin: two that spin on two cores starve everything else.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class Encoder:
    """Safe for use from many threads: a session's `run` and a tokenizer's `encode_batch` both are."""

    def __init__(self, graph: bytes | str, tokenizer: bytes, longest: int, threads: int = 1) -> None:
        self._session = open_session(graph, threads)
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        self.longest = longest - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        """The most tokens of a text that are read."""
        self.width = int(self._session.get_outputs()[0].shape[-1])

    def encode(self, texts: Sequence[str | None]) -> Vectors:
        """`(rows, width)`. Texts of like length share a batch, so little is spent on padding."""
        encodings = self._tokenizer.encode_batch([text or "" for text in texts])
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = self._run([encodings[i].ids for i in batch])
        return vectors

    def count(self, text: str) -> int:
        """All tokens of a text, those past the longest included."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return len(encoding.ids) + sum(len(one.ids) for one in encoding.overflowing)

    def ids(self, text: str) -> list[int]:
        """The numbers of a text's tokens, cut at the longest."""
        return list(self._tokenizer.encode(text).ids)

    def _run(self, ids: Sequence[Sequence[int]]) -> Vectors:
        longest = max(1, max(len(row) for row in ids))
        tokens = np.zeros((len(ids), longest), dtype=np.int64)  # (batch, longest)
        mask = np.zeros_like(tokens)
        for i, row in enumerate(ids):
            tokens[i, : len(row)] = row
            mask[i, : len(row)] = 1
        (vectors,) = self._session.run(None, {"tokens": tokens, "mask": mask})
        return np.asarray(vectors, dtype=np.float32)
