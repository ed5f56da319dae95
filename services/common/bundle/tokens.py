"""Word numbers of a text, for encoders that read words in order.

0 pads, 1 stands for every word that training didn't keep. Fitted by training, stored as JSON, used alike by both sides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.common.bundle.terms import words

PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The words that training kept (numbered from 2) and the most words that are read of one text."""

    known: tuple[str, ...]
    longest: int = 128
    numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {word: i + 2 for i, word in enumerate(self.known)})

    @property
    def size(self) -> int:
        """How many numbers there are, padding and unknown included."""
        return len(self.known) + 2

    def transform(self, texts: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """`(rows, longest text)` word numbers; a text without a word is one unknown word."""
        rows = [[self.numbers.get(w, UNKNOWN) for w in words(text or "")[: self.longest]] or [UNKNOWN] for text in texts]
        width = max((len(row) for row in rows), default=1)
        tokens = np.full((len(rows), width), PADDING, dtype=np.int64)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
        return tokens

    def count(self, text: str) -> int:
        """All words of a text, those past the longest included."""
        return len(words(text))

    def to_json(self) -> bytes:
        """What the bundle stores."""
        return json.dumps({"known": self.known, "longest": self.longest}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Vocabulary:
        """Inverse of `to_json`."""
        raw = json.loads(content)
        return cls(known=tuple(raw["known"]), longest=int(raw["longest"]))
