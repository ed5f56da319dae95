"""A list call from request to rows: `filter` (AIP-160), `order_by` (AIP-132) and pages (AIP-158) over one declared collection.

    RUNS = Collection({"state": Field(column=RunRow.state, ...), ...}, key=[by(RunRow.created, "created", desc=True), ...])
    rows, token = RUNS.page(session, sa.select(RunRow).where(...), asked(request), scope=parent)

Pages are found by the sort key of the last row, never by counting, so rows that come meanwhile shift no page. The key ends
with what is unique. A token belongs to the filter and order that it was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.common.errors import InvalidField
from services.common.filtering import Condition, Field, Fields, Kind, condition
from services.common.paging import Key, encode_token, page

MOST_ORDERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a list call asks for, beside its parent."""

    size: int = 0
    token: str = ""
    filter: str = ""
    order_by: str = ""


FIRST_PAGE = Asked()


def asked(request: Any) -> Asked:
    """Of a List request."""
    return Asked(size=request.page_size, token=request.page_token, filter=request.filter, order_by=request.order_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One part of a sort key. `name` is its name in tokens."""

    name: str
    column: sa.SQLColumnExpression[Any]
    descending: bool = False
    is_time: bool = False

    def behind(self, value: Any) -> Condition:
        """Rows that come after one with this value."""
        behind: Condition = self.column < value if self.descending else self.column > value
        return behind

    def ordered(self) -> sa.ColumnElement[Any]:
        """As ORDER BY takes it."""
        return self.column.desc() if self.descending else self.column.asc()

    def written(self, value: Any) -> Key:
        """As a token holds it."""
        return value.isoformat() if isinstance(value, datetime) else value

    def read(self, value: Key) -> Any:
        """Inverse of `written`. Raises `ValueError`."""
        return datetime.fromisoformat(str(value)) if self.is_time else value


class Collection:
    """What may be filtered and ordered by in a list, and its own order. Texts, numbers and times that are always set can be
    ordered by.
    """

    def __init__(self, fields: Fields, *, key: Sequence[Sort]) -> None:
        self.fields = fields
        self._key = tuple(key)
        self._sortable = {
            name: one for name, one in fields.items() if not one.nullable and one.kind in (Kind.TEXT, Kind.NUMBER, Kind.TIME)
        }

    def page(
        self,
        session: Session,
        query: sa.Select[*tuple[Any, ...]],
        ask: Asked,
        *,
        scope: str,
        weigh: Callable[[Any], int] = lambda _: 0,
        heaviest: int = 0,
    ) -> tuple[list[Any], str]:
        """The rows of one page as the query has them, and the token of the next; empty on the last. Raises `InvalidField`.

        A page whose rows weigh more than `heaviest` together ends early, though never before its first row.
        """
        fixed = "\n".join((scope, ask.filter, ask.order_by))
        wanted = page(ask.size, ask.token, query=fixed)
        keys = self.sorts(ask.order_by)
        wished = condition(ask.filter, self.fields)
        if wished is not None:
            query = query.where(wished)
        if wanted.after is not None:
            query = query.where(_after(keys, wanted.after))
        width = len(query.column_descriptions)
        query = query.order_by(*(one.ordered() for one in keys)).limit(wanted.limit + 1)
        found = session.execute(query.add_columns(*(one.column for one in keys)).execution_options(yield_per=50))
        rows: list[Any] = []
        weight, last = 0, None
        for row in found:
            content = row[0] if width == 1 else tuple(row[:width])
            weight += weigh(content)
            if len(rows) == wanted.limit or (rows and weight > heaviest > 0):
                assert last is not None
                after = {one.name: one.written(value) for one, value in zip(keys, last, strict=True)}
                return rows, encode_token(after, query=fixed)
            rows.append(content)
            last = row[width:]
        return rows, ""

    def sorts(self, order_by: str) -> tuple[Sort, ...]:
        """The order asked for, then the collection's own, which decides between equals."""
        parts = [part.split() for part in order_by.split(",")] if order_by.strip() else []
        if len(parts) > MOST_ORDERS:
            raise InvalidField("order_by", f"names {len(parts)} fields. Use at most {MOST_ORDERS}.")
        asked_for = tuple(self._sort(part) for part in parts)
        if len({one.name for one in asked_for}) < len(asked_for):
            raise InvalidField("order_by", "names a field twice.")
        return (*asked_for, *self._key)

    def _sort(self, words: list[str]) -> Sort:
        match words:
            case [name] | [name, "asc"] | [name, "desc"] if name in self._sortable:
                one = self._sortable[name]
                return Sort(name=f"by.{name}", column=one.column, descending=words[-1] == "desc", is_time=one.kind is Kind.TIME)
        shown, names = " ".join(words)[:60], ", ".join(self._sortable)
        raise InvalidField("order_by", f"'{shown}' isn't a field, or a field with asc or desc. The fields are: {names}.")


def _after(keys: Sequence[Sort], after: Mapping[str, Key]) -> Condition:
    """Rows behind the one with these values: behind in the first part, or equal in it and behind in the second, ..."""
    try:
        values = [one.read(after[one.name]) for one in keys]
    except (KeyError, ValueError):
        raise InvalidField("page_token", "isn't a token that this service made. Start again without one.") from None
    steps = []
    for index, one in enumerate(keys):
        equal = [earlier.column == value for earlier, value in zip(keys[:index], values, strict=False)]
        steps.append(sa.and_(*equal, one.behind(values[index])))
    return sa.or_(*steps)


def text(column: Any, *, nullable: bool = False) -> Field:
    """A text field."""
    return Field(column=column, nullable=nullable)


def number(column: Any, *, nullable: bool = False) -> Field:
    """A field of whole or other numbers."""
    return Field(column=column, kind=Kind.NUMBER, nullable=nullable)


def time(column: Any, *, nullable: bool = False) -> Field:
    """A field of moments."""
    return Field(column=column, kind=Kind.TIME, nullable=nullable)


def flag(column: Any) -> Field:
    """A field that is true or false."""
    return Field(column=column, kind=Kind.BOOLEAN)


def entries(column: Any) -> Field:
    """A field of texts that is kept as a JSON list."""
    return Field(column=column, kind=Kind.LIST)


def choice(column: Any, choices: Mapping[str, object]) -> Field:
    """A field with a few values, by their words in small letters."""
    return Field(column=column, kind=Kind.CHOICE, choices=choices)
