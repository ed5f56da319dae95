"""The numeric matrix of a table: scaled numbers, calendar parts, flags and one-hot categories.

Everything that was learned (centres, scales, categories) was learned on training rows by `services.training` and is stored
as JSON; this one `transform` serves training and serving. Unseen categories become "other" where training had rare ones,
else an all-zero block; missing numbers become the median, told by an indicator where training saw missing ones too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from services.common.bundle.values import Columns, Strings, Warning

Matrix = npt.NDArray[np.float32]

_SOFT_LIMIT = 3.0
_CHUNK = 4096
_CYCLES = {"hour": 24.0, "weekday": 7.0, "month": 12.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A scaled number. `indicator` adds a column that is 1 where the value is missing."""

    name: str
    center: float
    scale: float
    indicator: bool = False

    @property
    def width(self) -> int:
        """Columns in the matrix."""
        return 1 + self.indicator

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        return [self.name] + [f"{self.name} is missing"] * self.indicator


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in time: its place on the training rows' time line, and `cycles` (hour, weekday, month) as sine and cosine."""

    name: str
    center: float
    scale: float
    cycles: tuple[str, ...] = ()
    indicator: bool = False

    @property
    def width(self) -> int:
        """Columns in the matrix."""
        return 1 + self.indicator + 2 * len(self.cycles)

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        waves = [f"{self.name} {cycle} {wave}" for cycle in self.cycles for wave in ("sine", "cosine")]
        return Number(name=self.name, center=0, scale=0, indicator=self.indicator).names() + waves


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A one-hot category. `other`: rare values of training (the commonest are listed in `rare`) and unseen ones share a column.

    `missing`: so do missing ones.
    """

    name: str
    values: tuple[str, ...]
    rare: tuple[str, ...] = ()
    other: bool = False
    missing: bool = False
    places: dict[str | None, int] = field(init=False, repr=False, compare=False)
    """Which of its columns a value sets, -1 for none; the missing value is None."""
    known: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places: dict[str | None, int] = {value: i for i, value in enumerate(self.values)}
        places[None] = len(self.values) + self.other if self.missing else -1
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "known", frozenset((*self.values, *self.rare)))

    @property
    def width(self) -> int:
        """Columns in the matrix."""
        return len(self.values) + self.other + self.missing

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        extra = ["(another value)"] * self.other + ["(missing)"] * self.missing
        return [f"{self.name} = {value}" for value in [*self.values, *extra]]

    def ones(self, values: Strings, at: int, width: int) -> list[int]:
        """Places of the ones in a matrix `width` wide, read row by row, in which this category's columns begin at `at`."""
        get, other = self.places.get, len(self.values) if self.other else -1
        return [row * width + at + place for row, value in enumerate(values) if (place := get(value, other)) >= 0]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Numbers and moments side by side, so that a row costs a few array operations however many there are."""

    names: tuple[str, ...]
    centers: npt.NDArray[np.float64]  # (1, lines)
    scales: npt.NDArray[np.float64]  # (1, lines)
    at: npt.NDArray[np.int64] | slice
    """Where they go in the matrix; a slice where they lie side by side there too."""
    indicated: npt.NDArray[np.int64]
    indicators_at: npt.NDArray[np.int64]
    cycles: tuple[tuple[str, list[int], slice], ...]
    """Per cycle: the lines that have it, and which of the waves they are."""
    waving: npt.NDArray[np.int64]
    """The line of each wave; its sine goes to `waves_at`, its cosine beside it."""
    waves_at: npt.NDArray[np.int64]

    def write(self, values: npt.NDArray[np.float64], out: Matrix) -> None:
        """Fills `out` (rows, width) from `(rows, lines)`."""
        missing = np.isnan(values)
        scaled = (values - self.centers) * self.scales
        scaled[missing] = 0.0
        # Smooth clip of RealMLP (Holzmueller et al. 2024): far outliers end at +-3 and still keep their order.
        out[:, self.at] = scaled / np.sqrt(1.0 + np.square(scaled / _SOFT_LIMIT))
        if len(self.indicated):
            out[:, self.indicators_at] = missing[:, self.indicated]
        if len(self.waving):
            angles = np.empty((len(values), len(self.waving)))
            for cycle, lines, waves in self.cycles:
                angles[:, waves] = cycle_position(values[:, lines], cycle) * (2.0 * np.pi / _CYCLES[cycle])
            absent = missing[:, self.waving]
            out[:, self.waves_at] = np.where(absent, 0.0, np.sin(angles))
            out[:, self.waves_at + 1] = np.where(absent, 0.0, np.cos(angles))


def _side_by_side(blocks: Sequence[Number | Moment]) -> _Lines:
    at = np.cumsum([0, *(block.width for block in blocks)])[:-1]
    indicated = [i for i, block in enumerate(blocks) if block.indicator]
    cycles, waving, waves_at = list[tuple[str, list[int], slice]](), list[int](), list[int]()
    for cycle in _CYCLES:
        with_it = [(i, block) for i, block in enumerate(blocks) if isinstance(block, Moment) and cycle in block.cycles]
        if with_it:
            lines = [i for i, _ in with_it]
            cycles.append((cycle, lines, slice(len(waving), len(waving) + len(lines))))
            waving += lines
            waves_at += [int(at[i]) + 1 + block.indicator + 2 * block.cycles.index(cycle) for i, block in with_it]
    return _Lines(
        names=tuple(block.name for block in blocks),
        centers=np.array([[block.center for block in blocks]]),
        scales=np.array([[block.scale for block in blocks]]),
        at=slice(0, len(blocks)) if all(block.width == 1 for block in blocks) else at,
        indicated=np.array(indicated, dtype=np.int64),
        indicators_at=at[indicated] + 1,
        cycles=tuple(cycles),
        waving=np.array(waving, dtype=np.int64),
        waves_at=np.array(waves_at, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The fitted preprocessing of all tabular columns of a model. Booleans are numbers with centre .5."""

    numbers: tuple[Number, ...] = ()
    moments: tuple[Moment, ...] = ()
    categories: tuple[Category, ...] = ()
    width: int = field(init=False, compare=False)
    """Columns of the matrix."""
    _lines: _Lines = field(init=False, repr=False, compare=False)
    _categories_at: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", sum(block.width for block in self.blocks))
        object.__setattr__(self, "_categories_at", self.width - sum(category.width for category in self.categories))
        object.__setattr__(self, "_lines", _side_by_side((*self.numbers, *self.moments)))

    @property
    def blocks(self) -> tuple[Number | Moment | Category, ...]:
        """All columns, in the order of the matrix."""
        return (*self.numbers, *self.moments, *self.categories)

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        return [name for block in self.blocks for name in block.names()]

    def transform(self, columns: Columns, rows: int) -> Matrix:
        """`(rows, width)` float32."""
        width = self.width
        matrix = np.zeros((rows, width), dtype=np.float32)
        lines = self._lines
        for start in range(0, rows if lines.names else 0, _CHUNK):
            stop = min(start + _CHUNK, rows)
            values = np.array([columns[name][start:stop] for name in lines.names], dtype=np.float64)  # (lines, rows)
            lines.write(values.T, matrix[start:stop])
        ones, at = list[int](), self._categories_at
        for category in self.categories:
            ones += category.ones(cast(Strings, columns[category.name]), at, width)
            at += category.width
        if ones:
            matrix.reshape(-1)[ones] = 1.0
        return matrix

    def unseen(self, columns: Columns, warnings: list[list[Warning]]) -> None:
        """Adds a warning wherever a category is not among those that training saw."""
        for category in self.categories:
            known = category.known
            for i, value in enumerate(cast(Strings, columns[category.name])):
                if value is not None and value not in known:
                    problem = f"'{value[:80]}' is new to the model; it is taken as another value."
                    warnings[i].append(Warning(field=category.name, problem=problem))

    def to_json(self) -> bytes:
        """What the bundle stores."""
        return json.dumps({kind: [_fitted(b) for b in getattr(self, kind)] for kind in _KINDS}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Table:
        """Inverse of `to_json`."""
        raw: dict[str, list[dict[str, Any]]] = json.loads(content)
        return cls(
            numbers=tuple(Number(**n) for n in raw["numbers"]),
            moments=tuple(Moment(**{**m, "cycles": tuple(m["cycles"])}) for m in raw["moments"]),
            categories=tuple(
                Category(**{**c, "values": tuple(c["values"]), "rare": tuple(c["rare"])}) for c in raw["categories"]
            ),
        )


_KINDS = ("numbers", "moments", "categories")


def _fitted(block: Number | Moment | Category) -> dict[str, Any]:
    """What was learned, without what follows from it."""
    return {one.name: getattr(block, one.name) for one in fields(block) if one.init}


def cycle_position(seconds: npt.NDArray[np.float64], cycle: str) -> npt.NDArray[np.float64]:
    """Where in the day (hours), the week (days, Monday 0) or the year (months, January 0) a moment lies; NaN stays NaN."""
    if cycle == "hour":
        return np.mod(seconds, 86_400.0) / 3_600.0
    if cycle == "weekday":
        return np.floor(np.mod(seconds / 86_400.0 + 3.0, 7.0))  # 1970-01-01 was a Thursday
    missing = np.isnan(seconds)
    months = np.where(missing, 0.0, seconds).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return np.where(missing, np.nan, months % 12)
