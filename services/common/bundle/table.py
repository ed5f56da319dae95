"""The numeric matrix of a table: scaled numbers, calendar parts, flags and one-hot categories.

Everything that was learned (centres, scales, categories) was learned on training rows by `services.training` and is stored
as JSON; this one `transform` serves training and serving. Unseen categories become "other" where training had rare ones,
else an all-zero block; missing numbers become the median, told by an indicator where training saw missing ones too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from services.common.bundle.values import Columns, Strings, Warning

Matrix = npt.NDArray[np.float32]

_SOFT_LIMIT = 3.0
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

    def write(self, values: npt.NDArray[np.float64], out: Matrix) -> None:
        """Fills `out` (rows, width)."""
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - self.center) * self.scale)
        # Smooth clip of RealMLP (Holzmueller et al. 2024): far outliers end at +-3 and still keep their order.
        out[:, 0] = scaled / np.sqrt(1.0 + (scaled / _SOFT_LIMIT) ** 2)
        if self.indicator:
            out[:, 1] = missing


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

    def write(self, values: npt.NDArray[np.float64], out: Matrix) -> None:
        """Fills `out` (rows, width)."""
        line = Number(name=self.name, center=self.center, scale=self.scale, indicator=self.indicator)
        line.write(values, out[:, : line.width])
        for i, cycle in enumerate(self.cycles):
            angle = 2.0 * np.pi * cycle_position(values, cycle) / _CYCLES[cycle]
            at = line.width + 2 * i
            out[:, at], out[:, at + 1] = np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))


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

    @property
    def width(self) -> int:
        """Columns in the matrix."""
        return len(self.values) + self.other + self.missing

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        extra = ["(another value)"] * self.other + ["(missing)"] * self.missing
        return [f"{self.name} = {value}" for value in [*self.values, *extra]]

    def positions(self, values: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """Which column each value sets, -1 for none."""
        places = {value: i for i, value in enumerate(self.values)}
        other = len(self.values) if self.other else -1
        missing = len(self.values) + self.other if self.missing else -1
        return np.array([missing if v is None else places.get(v, other) for v in values], dtype=np.int64)

    def write(self, values: Sequence[str | None], out: Matrix) -> None:
        """Fills `out` (rows, width)."""
        position = self.positions(values)
        rows = np.flatnonzero(position >= 0)
        out[rows, position[rows]] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The fitted preprocessing of all tabular columns of a model. Booleans are numbers with centre .5."""

    numbers: tuple[Number, ...] = ()
    moments: tuple[Moment, ...] = ()
    categories: tuple[Category, ...] = ()

    @property
    def blocks(self) -> tuple[Number | Moment | Category, ...]:
        """All columns, in the order of the matrix."""
        return (*self.numbers, *self.moments, *self.categories)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(block.width for block in self.blocks)

    def names(self) -> list[str]:
        """A name per column of the matrix."""
        return [name for block in self.blocks for name in block.names()]

    def transform(self, columns: Columns, rows: int) -> Matrix:
        """`(rows, width)` float32."""
        matrix = np.zeros((rows, self.width), dtype=np.float32)
        at = 0
        for block in self.blocks:
            out = matrix[:, at : at + block.width]
            if isinstance(block, Category):
                block.write(cast(Strings, columns[block.name]), out)
            else:
                block.write(np.asarray(columns[block.name], dtype=np.float64), out)
            at += block.width
        return matrix

    def unseen(self, columns: Columns, warnings: list[list[Warning]]) -> None:
        """Adds a warning wherever a category is not among those that training saw."""
        for category in self.categories:
            known = {*category.values, *category.rare}
            for i, value in enumerate(cast(Strings, columns[category.name])):
                if value is not None and value not in known:
                    problem = f"'{value[:80]}' is new to the model; it is taken as another value."
                    warnings[i].append(Warning(field=category.name, problem=problem))

    def to_json(self) -> bytes:
        """What the bundle stores."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

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


def cycle_position(seconds: npt.NDArray[np.float64], cycle: str) -> npt.NDArray[np.float64]:
    """Where in the day (hours), the week (days, Monday 0) or the year (months, January 0) a moment lies; NaN stays NaN."""
    if cycle == "hour":
        return np.mod(seconds, 86_400.0) / 3_600.0
    if cycle == "weekday":
        return np.floor(np.mod(seconds / 86_400.0 + 3.0, 7.0))  # 1970-01-01 was a Thursday
    missing = np.isnan(seconds)
    months = np.where(missing, 0.0, seconds).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return np.where(missing, np.nan, months % 12)
