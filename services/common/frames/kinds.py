"""What columns are: a name, a kind, and how a value of each kind is spelled as text.

Pure: no I/O and no Arrow, so that every service can speak of columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from services.common.errors import InvalidField

ROW = "__row"
"""Name of the Parquet column that holds a row's number."""

HOLDOUT = "__holdout"
"""Name of the Parquet column that says whether a row is held out."""


class Kind(StrEnum):
    """What a column is for a model."""

    TEXT = "text"
    CATEGORICAL = "categorical"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    ID = "id"

    @property
    def is_string(self) -> bool:
        """Whether values of this kind are kept as strings."""
        return self in (Kind.TEXT, Kind.CATEGORICAL, Kind.ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `inferred_because` says in words why it has its kind; empty where a user set it.

    `style` names how numbers or times are spelled in the source (`decimal_comma`, `%d/%m/%Y`), so that appended rows are
    read the same way; empty where plain.
    """

    name: str
    kind: Kind
    inferred_because: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a data set version, in the order of the file."""

    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    def column(self, name: str, *, field: str = "column") -> Column:
        """The column of that name. Raises `InvalidField` about `field` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidField(field, f"there is no column '{name}'. The columns are: {listed(self.names)}.")

    def with_columns(self, changed: Sequence[Column]) -> Schema:
        """The same columns, those of the same name replaced."""
        by_name = {column.name: column for column in changed}
        return Schema(tuple(by_name.get(column.name, column) for column in self.columns))


def plain_text(value: object) -> str | None:
    """How a stored value is spelled: whole numbers without decimals, booleans as true/false, times as ISO 8601 in UTC."""
    if value is None or value != value:  # NaN and NaT are the only values unequal to themselves
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def listed(names: Sequence[str], *, most: int = 12) -> str:
    """Names for a sentence: quoted, with a count in place of those past `most`."""
    shown = ", ".join(f"'{name[:60]}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
