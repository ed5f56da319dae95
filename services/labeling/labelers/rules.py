"""What labelers are, and which definitions are acceptable. Pure: no storage, no protos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from services.common.errors import FieldProblem, InvalidFields
from services.common.frames.kinds import Schema, listed
from services.common.spec import ProblemSpec

MOST_KEYWORDS = 1_000
MOST_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """Votes where any of the keywords occurs."""

    kind: ClassVar[str] = "keyword"
    column: str
    keywords: tuple[str, ...]
    class_name: str
    within_words: bool = False
    case_sensitive: bool = False
    against: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """Votes where an RE2 pattern matches."""

    kind: ClassVar[str] = "regex"
    column: str
    pattern: str
    class_name: str
    case_sensitive: bool = False
    against: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql:
    """Votes by one SQL expression: class names, or with `class_name` set, true where it votes for that class."""

    kind: ClassVar[str] = "sql"
    expression: str
    class_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnValue:
    """Votes with a column's value; `value_classes` where the spec's own source values don't fit."""

    kind: ClassVar[str] = "column"
    column: str
    value_classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Votes that were made elsewhere."""

    kind: ClassVar[str] = "imported"
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Human:
    """People. `gold`: their answers are trusted."""

    kind: ClassVar[str] = "human"
    gold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Labels that a third-party app sends back for predictions."""

    kind: ClassVar[str] = "feedback"
    source: str


Definition = Keyword | Regex | Sql | ColumnValue | Imported | Human | Feedback
Program = Keyword | Regex | Sql | ColumnValue
"""Definitions that vote by themselves."""

KINDS: Mapping[str, type[Definition]] = {
    kind.kind: kind for kind in (Keyword, Regex, Sql, ColumnValue, Imported, Human, Feedback)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeler:
    """A labeler. Immutable but for its retirement. `id` is its key in lists; 0 while it isn't stored."""

    name: str
    problem_spec: str
    definition: Definition
    description: str = ""
    id: int = 0
    created: datetime | None = None
    retired: datetime | None = None

    @property
    def kind(self) -> str:
        """`keyword`, `regex`, `sql`, `column`, `imported`, `human` or `feedback`."""
        return self.definition.kind

    @property
    def program(self) -> Program | None:
        """The definition of a labeler that votes by itself; None for people, imports and feedback."""
        return self.definition if isinstance(self.definition, Keyword | Regex | Sql | ColumnValue) else None

    @property
    def gold(self) -> bool:
        """Whether its votes are gold labels."""
        return isinstance(self.definition, Human) and self.definition.gold


def definition_fields(definition: Definition) -> dict[str, Any]:
    """The definition as plain values, without its kind."""
    return asdict(definition)


def definition_of(kind: str, fields: Mapping[str, Any]) -> Definition:
    """Inverse of `definition_fields`."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return KINDS[kind](**values)


def check_definition(definition: Definition, spec: ProblemSpec, schema: Schema) -> None:
    """Raises `InvalidFields` naming every field that is wrong; patterns and expressions are tried out elsewhere."""
    problems = _problems(definition, spec, schema)
    if problems:
        kind = definition.kind
        raise InvalidFields([FieldProblem(field=f"labeler.{kind}.{name}", problem=problem) for name, problem in problems])


def _problems(definition: Definition, spec: ProblemSpec, schema: Schema) -> list[tuple[str, str]]:
    match definition:
        case Keyword():
            return [
                *_text_column(definition.column, spec, schema), *_class(definition.class_name, spec),
                *_keywords(definition.keywords),
            ]  # fmt: skip
        case Regex():
            pattern = _length("pattern", definition.pattern)
            return [*_text_column(definition.column, spec, schema), *_class(definition.class_name, spec), *pattern]
        case Sql():
            named = _class(definition.class_name, spec) if definition.class_name else []
            return [*_length("expression", definition.expression), *named]
        case ColumnValue():
            return [*_column(definition.column, spec, schema), *_value_classes(definition.value_classes, spec)]
        case Feedback():
            return [] if definition.source else [("source", "is empty. Say where the feedback comes from.")]
        case _:
            return []


def _column(name: str, spec: ProblemSpec, schema: Schema) -> list[tuple[str, str]]:
    if name == spec.target_column and name:
        return [("column", f"'{name}' is the target: labelers never see it. Choose another column.")]
    if name not in schema:
        visible = [column for column in schema.names if column != spec.target_column]
        return [("column", f"there is no column '{name[:60]}'. The columns are: {listed(visible)}.")]
    return []


def _text_column(name: str, spec: ProblemSpec, schema: Schema) -> list[tuple[str, str]]:
    if problems := _column(name, spec, schema):
        return problems
    kind = schema.column(name).kind
    return [] if kind.is_string else [("column", f"'{name}' is {kind.value}, not text. Use an SQL labeler for it.")]


def _class(name: str, spec: ProblemSpec) -> list[tuple[str, str]]:
    if name in spec.class_names:
        return []
    return [("class_name", f"'{name[:60]}' is not a class of the spec. The classes are: {listed(spec.class_names)}.")]


def _keywords(keywords: Sequence[str]) -> list[tuple[str, str]]:
    if not 1 <= len(keywords) <= MOST_KEYWORDS:
        return [("keywords", f"must be 1 to {MOST_KEYWORDS:,}, not {len(keywords):,}.")]
    places = [i + 1 for i, keyword in enumerate(keywords) if not keyword.strip()]
    blank = [("keywords", f"keyword {place} is blank: it would match everything.") for place in places]
    return blank or _length("keywords", "".join(keywords))


def _length(name: str, text: str) -> list[tuple[str, str]]:
    if not text.strip():
        return [(name, "is empty.")]
    return [] if len(text) <= MOST_CHARACTERS else [(name, f"has {len(text):,} characters; the limit is {MOST_CHARACTERS:,}.")]


def _value_classes(value_classes: Mapping[str, str], spec: ProblemSpec) -> list[tuple[str, str]]:
    return [
        (f"value_classes['{value[:60]}']", problem)
        for value, name in value_classes.items()
        for _, problem in _class(name, spec)
    ]  # fmt: skip
