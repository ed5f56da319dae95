"""`filter` of list calls (AIP-160), compiled to an SQL condition over the fields that a collection declares.

    state = "succeeded" AND create_time > "2026-01-01T00:00:00Z"
    (labeler = projects/shop/labelers/anna OR gold = true) AND NOT class_names:spam

Read are `=`, `!=`, `<`, `<=`, `>`, `>=`, `:` (a text contains it, a list has it; `field:*`: it is set), `AND`, `OR`, `NOT` or
`-`, parentheses, and `"text*"` for texts that begin so. As AIP-160 wants, `OR` binds closer than `AND`, and two restrictions
without a word between are both meant. What isn't understood is told with its position and the fields that there are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NoReturn

import sqlalchemy as sa

from services.common.errors import InvalidField

MOST_CHARACTERS = 2_000
MOST_RESTRICTIONS = 50
DEEPEST = 20
_BIGGEST = 1 << 63
Condition = sa.ColumnElement[bool]


class Kind(Enum):
    """What a field holds, in the words of its error messages."""

    TEXT = "a text"
    LIST = "an entry of the list"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TIME = "a time, like 2026-03-27T14:53:00Z"
    CHOICE = "one of its values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `column` is a list's JSON text, and else the value; `choices` are a choice's words in small letters."""

    column: sa.SQLColumnExpression[Any]
    kind: Kind = Kind.TEXT
    nullable: bool = False
    choices: Mapping[str, object] = field(default_factory=dict)


Fields = Mapping[str, Field]


def condition(text: str, fields: Fields) -> Condition | None:
    """The condition that the filter means; None for an empty one. Raises `InvalidField` for `filter`."""
    if not text.strip():
        return None
    if len(text) > MOST_CHARACTERS:
        raise InvalidField("filter", f"has {len(text):,} characters. Use at most {MOST_CHARACTERS:,}.")
    return _Parser(text, fields).parse()


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_COMPARATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_BARE = re.compile(r"[^\s()\"']+")
_SPACE = re.compile(r"\s*")
_ORDERED = frozenset({Kind.NUMBER, Kind.TIME})
_COMPARE: dict[str, Callable[[Any, Any], Condition]] = {
    "<": lambda column, value: column < value, "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value, ">=": lambda column, value: column >= value,
    "=": lambda column, value: column == value,
}  # fmt: skip


class _Parser:
    """Recursive descent over the text; `at` is the next character."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._text, self._fields = text, fields
        self._at = self._restrictions = 0

    def parse(self) -> Condition:
        found = self._expression(0)
        if self._at < len(self._text):
            self._refuse(f"'{self._shown()}' isn't expected here: join conditions with AND or OR")
        return found

    def _expression(self, depth: int) -> Condition:
        if depth > DEEPEST:
            self._refuse(f"parentheses are nested deeper than {DEEPEST}")
        parts = [self._any_of(depth)]
        while not self._ends():
            self._word("AND")
            parts.append(self._any_of(depth))
        return sa.and_(*parts)

    def _any_of(self, depth: int) -> Condition:
        parts = [self._term(depth)]
        while self._word("OR"):
            parts.append(self._term(depth))
        return sa.or_(*parts)

    def _term(self, depth: int) -> Condition:
        self._skip()
        if self._word("NOT") or self._take("-"):
            return sa.not_(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Condition:
        self._skip()
        if not self._take("("):
            return self._restriction()
        inside = self._expression(depth + 1)
        if not self._take(")"):
            self._refuse("a closing parenthesis is missing")
        return inside

    def _restriction(self) -> Condition:
        began = self._at
        name = self._match(_NAME)
        if name is None or name in ("AND", "OR", "NOT"):
            self._at = began
            self._refuse(f"a field's name is expected, not '{self._shown()}'" if self._shown() else "a condition is missing")
        found = self._fields.get(name)
        if found is None:
            self._at = began
            self._refuse(f"there is no field '{name[:60]}'")
        self._restrictions += 1
        if self._restrictions > MOST_RESTRICTIONS:
            self._refuse(f"there are more than {MOST_RESTRICTIONS} conditions")
        self._skip()
        comparator = self._match(_COMPARATOR)
        if comparator is None:
            self._refuse(f"'{name}' needs =, !=, <, <=, >, >= or : and a value behind it")
        self._skip()
        began = self._at
        value, quoted = self._value(name)
        try:
            made = _compiled(found, comparator, value, quoted=quoted)
        except ValueError as error:
            self._at = began
            self._refuse(f"{name} {error}")
        return sa.func.coalesce(made, sa.false()) if found.nullable else made

    def _value(self, name: str) -> tuple[str, bool]:
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            return re.sub(r"\\(.)", r"\1", quoted[1] if quoted[1] is not None else quoted[2], flags=re.DOTALL), True
        bare = self._match(_BARE)
        if bare is None:
            self._refuse(f"the value of '{name}' is missing, or its quotes aren't closed")
        return bare, False

    def _ends(self) -> bool:
        self._skip()
        return self._at >= len(self._text) or self._text[self._at] == ")"

    def _word(self, word: str) -> bool:
        self._skip()
        behind = self._at + len(word)
        if not self._text.startswith(word, self._at) or _NAME.match(self._text[behind : behind + 1]):
            return False
        self._at = behind
        return True

    def _take(self, character: str) -> bool:
        self._skip()
        taken = self._text.startswith(character, self._at)
        self._at += taken
        return taken

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        self._match(_SPACE)

    def _shown(self) -> str:
        return self._text[self._at :].split(maxsplit=1)[0][:40] if self._text[self._at :].strip() else ""

    def _refuse(self, problem: str) -> NoReturn:
        position, names = self._at + 1, ", ".join(self._fields)
        raise InvalidField("filter", f"at character {position}: {problem}. The fields are: {names}.", position=position)


def _compiled(found: Field, comparator: str, text: str, *, quoted: bool) -> Condition:
    """Raises `ValueError` with what is wrong about the comparator or the value."""
    if comparator == ":" and text == "*" and not quoted:
        empty = {Kind.TEXT: "", Kind.LIST: "[]"}.get(found.kind)
        return found.column.is_not(None) if empty is None else found.column != empty
    if comparator == ":" and found.kind in (Kind.TEXT, Kind.LIST):
        return _has(found, _fit(text))
    if comparator in ("<", "<=", ">", ">=") and found.kind not in _ORDERED:
        raise ValueError(f"has no order: compare it by =, != or :, not {comparator}")
    if found.kind is Kind.LIST:
        raise ValueError(f"is a list: ask for an entry by :, not {comparator}")
    if found.kind is Kind.TEXT and text.endswith("*") and comparator in ("=", "!="):
        begins = sa.func.substr(found.column, 1, len(text) - 1) == _fit(text[:-1])
        return begins if comparator == "=" else sa.not_(begins)
    value = _read(found, text)
    if comparator == "!=":
        return sa.or_(found.column != value, found.column.is_(None)) if found.nullable else found.column != value
    return _COMPARE["=" if comparator == ":" else comparator](found.column, value)


def _has(found: Field, text: str) -> Condition:
    """By `replace`, for SQLite's LIKE takes capitals for small letters, and an entry of a list is that or isn't."""
    if found.kind is Kind.LIST:
        return sa.func.replace(found.column, json.dumps(text, ensure_ascii=False), "") != found.column
    return sa.func.lower(found.column).contains(text.lower(), autoescape=True)


def _read(found: Field, text: str) -> object:
    readers: dict[Kind, Callable[[str], object]] = {Kind.NUMBER: _number, Kind.BOOLEAN: _boolean, Kind.TIME: time_of}
    if found.kind is Kind.CHOICE:
        word = text.lower()
        near = next((known for known in found.choices if word in (known, known.rpartition(".")[2])), None)
        near = near or next((known for known in found.choices if word.endswith(f"_{known}")), None)
        if near is None:
            raise ValueError(f"is one of {', '.join(found.choices)}, not '{text[:40]}'")
        return found.choices[near]
    try:
        return readers.get(found.kind, _fit)(text)
    except ValueError:
        raise ValueError(f"is compared with {found.kind.value}, not '{text[:40]}'") from None


def _number(text: str) -> float:
    number: float = int(text) if re.fullmatch(r"-?\d{1,19}", text) else float(text)
    if not math.isfinite(number) or "_" in text or abs(number) >= _BIGGEST:
        raise ValueError
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def time_of(text: str) -> datetime:
    """RFC 3339, or a date alone, which is its first moment; without a zone, UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


def _fit(text: str) -> str:
    if "\0" in text:
        raise ValueError("can't hold a NUL character")
    return text
