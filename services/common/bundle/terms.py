"""TF-IDF terms of a text: word 1-2-grams and, for short texts, character n-grams.

Fitted by training and stored as JSON; the same `transform` makes the features of training and of serving, so there is no
skew between them. Rows come out ragged (term numbers and weights), as the ONNX graph and scipy both want them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

# Words keep their inner apostrophe; runs of marks such as "!!!" or "$" are words too: they tell spam and mood.
_WORD = re.compile(r"\w+(?:'\w+)*|[!?$%#@:;)(]+")

_MOST_REMEMBERED = 20_000
_LONGEST_REMEMBERED = 30


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sparse rows: row i has `indices[starts[i]:starts[i + 1]]` with `values` beside them."""

    starts: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def padded(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """`(rows, longest)` term numbers and weights; padding has weight 0, so the number there doesn't matter."""
        if len(self) == 1 and len(self.indices):
            return self.indices.astype(np.int64)[None, :], self.values[None, :]
        lengths = np.diff(self.starts)
        longest = max(1, int(lengths.max(initial=0)))
        inside = np.arange(longest)[None, :] < lengths[:, None]  # (rows, longest)
        index = np.zeros(inside.shape, dtype=np.int64)
        value = np.zeros(inside.shape, dtype=np.float32)
        index[inside], value[inside] = self.indices, self.values
        return index, value

    def take(self, rows: npt.NDArray[np.int64]) -> Ragged:
        """The rows with these numbers, in this order."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        picked = np.repeat(self.starts[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Ragged(starts, self.indices[picked], self.values[picked])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A fitted vocabulary. `sizes` are the character n-gram lengths inside words, (0, 0) for none."""

    terms: tuple[str, ...]
    weights: npt.NDArray[np.float64]
    sizes: tuple[int, int] = (0, 0)
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)
    pieces: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)
    """Numbers of the n-grams inside words that came before: few words make most of all texts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {term: i for i, term in enumerate(self.terms)})
        object.__setattr__(self, "pieces", {})

    def transform(self, texts: Iterable[str | None]) -> Ragged:
        """Weights `(1 + ln tf) * idf`, each row of length 1 (Salton and Buckley 1988, 'ltc')."""
        starts, indices, counts = [0], list[int](), list[int]()
        for text in texts:
            found = Counter(self._known(text or ""))
            indices.extend(found)
            counts.extend(found.values())
            starts.append(len(indices))
        return self.weigh(np.array(starts, np.int64), np.array(indices, np.int32), np.array(counts, np.float64))

    def _known(self, text: str) -> list[int]:
        """The numbers of `analyze(text)`'s terms, in its order, without those that training didn't keep."""
        found, get = words(text), self.numbers.get
        known = [n for word in found if (n := get(word)) is not None]
        known += [n for first, second in pairwise(found) if (n := get(f"{first} {second}")) is not None]
        if self.sizes[1]:
            for word in found:
                inside = self.pieces.get(word)
                known += self._remember(word) if inside is None else inside
        return known

    def _remember(self, word: str) -> tuple[int, ...]:
        inside = tuple(n for piece in pieces_of(word, self.sizes) if (n := self.numbers.get(piece)) is not None)
        if len(self.pieces) < _MOST_REMEMBERED and len(word) <= _LONGEST_REMEMBERED:
            self.pieces[word] = inside
        return inside

    def weigh(self, starts: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], counts: npt.NDArray[np.float64]) -> Ragged:
        """Ragged rows of weights from ragged rows of counts."""
        values = (1.0 + np.log(counts)) * self.weights[indices]
        if len(starts) == 2 and len(values):  # one row, as most requests have
            return Ragged(starts, indices, (values / np.sqrt(np.add.reduceat(values * values, starts[:1]))).astype(np.float32))
        lengths = np.diff(starts)
        norms = np.ones(len(lengths))
        if len(values):
            norms[lengths > 0] = np.sqrt(np.add.reduceat(values * values, starts[:-1][lengths > 0]))
        return Ragged(starts, indices, (values / np.repeat(norms, lengths)).astype(np.float32))

    def to_json(self) -> bytes:
        """What the bundle stores."""
        raw = {"terms": self.terms, "weights": [float(w) for w in self.weights], "sizes": self.sizes}
        return json.dumps(raw, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Terms:
        """Inverse of `to_json`."""
        raw = json.loads(content)
        return cls(terms=tuple(raw["terms"]), weights=np.array(raw["weights"], np.float64), sizes=tuple(raw["sizes"]))


def words(text: str) -> list[str]:
    """Lower-case words and marks, in order."""
    return _WORD.findall(text.lower())


def analyze(text: str, sizes: tuple[int, int]) -> Iterator[str]:
    """Every term of a text, repeats included. Character n-grams carry a `~` so that they never meet a word."""
    found = words(text)
    yield from found
    for first, second in pairwise(found):
        yield f"{first} {second}"
    if sizes[1]:
        for word in found:
            yield from pieces_of(word, sizes)


def pieces_of(word: str, sizes: tuple[int, int]) -> list[str]:
    """The character n-grams of a word and of its ends."""
    padded = f" {word} "
    return [
        "~" + padded[start : start + size] for size in range(sizes[0], sizes[1] + 1) for start in range(len(padded) - size + 1)
    ]


def join_texts(columns: Sequence[Sequence[str | None]]) -> list[str]:
    """One text a row from several text columns, in their order; missing ones are left out."""
    return [" \n ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
