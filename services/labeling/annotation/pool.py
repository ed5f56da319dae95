"""Rows that may be asked about, and their vectors, remembered between two clicks of the same person."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from services.common.frames.kinds import HOLDOUT, Kind
from services.common.spec import ProblemSpec
from services.labeling.annotation.features import Scale, Vector, row_vector
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.model import Version

_REMEMBERED = 8
"""Data set versions whose rows are remembered at once."""

_MOST_VECTORS = 20_000

T = TypeVar("T")


class RowPool:
    """Knows which rows are held out and how rows look to the quick model. Safe for many threads."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._holdout: _Recent[npt.NDArray[np.bool_]] = _Recent()
        self._vectors: _Recent[_Vectors] = _Recent()

    def candidates(self, version: Version, answered: set[int], *, holdout: bool | None) -> npt.NDArray[np.int64]:
        """Numbers of the rows that aren't answered, ascending; of one side of the holdout, or (None) of both."""
        held_out = self._holdout.get(version.digest, lambda: self._read_holdout(version))
        open_ = np.ones(len(held_out), dtype=np.bool_) if holdout is None else held_out == holdout
        open_[[row for row in answered if row < len(open_)]] = False
        return np.flatnonzero(open_).astype(np.int64)

    def held_out(self, version: Version) -> npt.NDArray[np.bool_]:
        """For each row of the version, whether it is held out."""
        return self._holdout.get(version.digest, lambda: self._read_holdout(version))

    def vectors(self, version: Version, spec: ProblemSpec, rows: Sequence[int]) -> list[Vector]:
        """The vectors of these rows over the spec's inputs, in this order."""
        known = self._vectors.get(f"{version.digest}\n{spec.name}", lambda: _Vectors(_kinds(version, spec)))
        with known.lock:
            missing = [row for row in rows if row not in known.of]
            if len(known.of) + len(missing) > _MOST_VECTORS:
                known.of.clear()
                missing = list(rows)
            if missing:
                self._read_vectors(version, known, missing)
            return [known.of[row] for row in rows]

    def _read_vectors(self, version: Version, known: _Vectors, rows: Sequence[int]) -> None:
        frame = self._datasets.load_rows(version, rows, list(known.kinds))
        if known.scales is None:
            numeric = [name for name, kind in known.kinds.items() if kind is Kind.NUMERIC]
            known.scales = {name: Scale.of(frame[name].tolist()) for name in numeric}
        for number, record in zip(frame.index.tolist(), frame.to_dict("records"), strict=True):
            known.of[number] = row_vector({str(k): v for k, v in record.items()}, known.kinds, known.scales)

    def _read_holdout(self, version: Version) -> npt.NDArray[np.bool_]:
        batches = [batch.column(HOLDOUT).to_numpy(zero_copy_only=False) for batch in self._datasets.read(version, [])]
        return np.concatenate(batches) if batches else np.zeros(0, dtype=np.bool_)


@dataclass(slots=True)
class _Vectors:
    kinds: dict[str, Kind]
    scales: dict[str, Scale] | None = None
    of: dict[int, Vector] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Recent(Generic[T]):
    """The values used last, each made once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > _REMEMBERED:
                self._values.popitem(last=False)
            return self._values[key]


def _kinds(version: Version, spec: ProblemSpec) -> dict[str, Kind]:
    """The spec's inputs that the version has, with the version's kinds."""
    inputs = {column.name for column in spec.inputs}
    return {column.name: column.kind for column in version.schema if column.name in inputs}
