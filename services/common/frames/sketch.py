"""Counting in bounded memory: distinct values, repeats, the most frequent values, mean and spread.

`Distinct` keeps the k smallest hashes with their counts (Bar-Yossef et al. 2002, "KMV"): exact up to k distinct values, and
above that an estimate with a relative error near 1/sqrt(k). `Frequent` counts exactly until it is full, then drops the
rarest half, remembers how much it may have missed (Manku and Motwani 2002, "lossy counting"), and lets a new value in only
where it occurs twice in one batch. `Moments` merges batches by Chan et al. 1979.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]

SHOWN_CHARACTERS = 200
_HASH_KEY = "regrow-sketch-16"


def hashes_of(texts: pa.StringArray) -> Hashes:
    """A 64-bit SipHash of each value, the same in every process. `texts` has no nulls."""
    cells = texts.to_numpy(zero_copy_only=False).astype(object)
    hashes: Hashes = pd.util.hash_array(cells, hash_key=_HASH_KEY, categorize=False)
    return hashes


class Distinct:
    """How many different hashes were seen, and how many repeat one that was seen before."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._hashes: Hashes = np.empty(0, dtype=np.uint64)
        self._counts: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._below: int | None = None  # once full: the smallest hash that was ever dropped

    def add(self, hashes: Hashes) -> None:
        """Counts a batch."""
        if self._below is not None:
            hashes = hashes[hashes < np.uint64(self._below)]
        if not len(hashes):
            return
        new, counts = np.unique(hashes, return_counts=True)
        merged, where = np.unique(np.concatenate([self._hashes, new]), return_inverse=True)
        totals = np.zeros(len(merged), dtype=np.int64)
        np.add.at(totals, where, np.concatenate([self._counts, counts]))
        if len(merged) > self._capacity:
            self._below = int(merged[self._capacity])
        self._hashes, self._counts = merged[: self._capacity], totals[: self._capacity]

    @property
    def exact(self) -> bool:
        """Whether nothing had to be dropped."""
        return self._below is None

    @property
    def distinct(self) -> int:
        """How many different values."""
        return round(len(self._hashes) * self._scale)

    @property
    def repeats(self) -> int:
        """How many values repeat another one."""
        return round(int((self._counts - 1).sum()) * self._scale)

    @property
    def _scale(self) -> float:
        return 1.0 if self._below is None else 2.0**64 / self._below


class Frequent:
    """The most frequent values, each shortened to 200 characters."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._counts: Counter[str] = Counter()
        self._missed = 0

    def add(self, texts: pa.StringArray) -> None:
        """Counts a batch without nulls."""
        if not len(texts):
            return
        longest = pc.max(pc.binary_length(texts)).as_py()
        if longest > SHOWN_CHARACTERS:
            texts = pc.utf8_slice_codeunits(texts, 0, SHOWN_CHARACTERS)
        counted = pc.value_counts(texts)
        values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
        kept = self._counts
        for value, count in zip(values, counts, strict=True):
            if self._missed == 0 or count > 1 or value in kept:
                kept[value] += count
        if len(self._counts) > self._capacity:
            self._prune()

    def _prune(self) -> None:
        kept = self._counts.most_common(self._capacity // 2)
        self._missed += self._counts.most_common(self._capacity // 2 + 1)[-1][1]
        self._counts = Counter(dict(kept))

    @property
    def exact(self) -> bool:
        """Whether no value was dropped."""
        return self._missed == 0

    def top(self, most: int = 20) -> list[tuple[str, int]]:
        """Values and counts, most frequent first; ties in order of the value. Leaves out what may not belong among them."""
        surest = [(value, count) for value, count in self._counts.items() if count > 2 * self._missed]
        return sorted(surest, key=lambda item: (-item[1], item[0]))[:most]


class Moments:
    """Count, mean, spread, minimum and maximum of numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf
        self._squares = 0.0

    def add(self, numbers: npt.NDArray[np.float64]) -> None:
        """Counts a batch of finite numbers."""
        if not len(numbers):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean, squares = float(numbers.mean()), float(((numbers - numbers.mean()) ** 2).sum())
        total = self.count + len(numbers)
        delta = mean - self.mean
        self._squares += squares + delta * delta * self.count * len(numbers) / total
        self.mean += delta * len(numbers) / total
        self.count = total
        self.minimum, self.maximum = min(self.minimum, float(numbers.min())), max(self.maximum, float(numbers.max()))

    @property
    def standard_deviation(self) -> float:
        """Of the sample, with n - 1; 0 below two numbers."""
        return math.sqrt(max(self._squares, 0.0) / (self.count - 1)) if self.count > 1 else 0.0
