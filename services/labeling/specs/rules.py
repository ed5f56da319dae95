"""From what a user says of a problem to a complete spec: classes from the target's values, inputs from the schema.

Pure: the values and the schema are handed in. Every mistake names its field in the request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.common.errors import FieldProblem, InvalidField, InvalidFields
from services.common.frames.kinds import Kind, Schema, listed
from services.common.spec import MOST_CLASSES, ClassDefinition, InputColumn, ProblemSpec, check, label_text

FEW_HOLDOUT_ROWS = 30
MOST_NAME = 200
_MANY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the user said: a spec that may lack classes and inputs, and the columns by name."""

    spec: ProblemSpec
    input_columns: tuple[str, ...] = ()
    excluded_columns: tuple[str, ...] = ()


@dataclass(slots=True)
class TargetValues:
    """The values of the target column as labels, with their rows: `training` and `holdout` count each value."""

    training: Counter[str] = field(default_factory=Counter)
    holdout: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    missing: int = 0

    def add(self, cells: Iterable[object], held_out: Iterable[bool], *, separator: str | None) -> None:
        """Counts a batch; with a separator, each part of a cell by itself."""
        for cell, holdout in zip(cells, held_out, strict=True):
            if (text := label_text(cell)) is None:
                self.missing += 1
                continue
            self.rows += 1
            counter = self.holdout if holdout else self.training
            counter.update({text} if separator is None else {part.strip() for part in text.split(separator) if part.strip()})
            if len(self.training) + len(self.holdout) > 4 * MOST_CLASSES:
                raise _free_text(len(self.training.keys() | self.holdout.keys()), self.rows)

    @property
    def distinct(self) -> set[str]:
        """Every value seen."""
        return set(self.training) | set(self.holdout)


def complete(draft: Draft, schema: Schema, values: TargetValues | None, *, split_column: str = "") -> ProblemSpec:
    """The checked spec. `values` are the target's, None where there is no target. Raises `InvalidField`, `InvalidFields`."""
    _check_columns(draft, schema)
    spec = draft.spec
    if not spec.classes:
        if values is None:
            raise InvalidField("problem_spec.classes", "name the classes, or a target column whose values they are taken from.")
        spec = replace(spec, classes=inferred_classes(values))
    spec = replace(spec, inputs=_inputs(draft, schema, split_column))
    try:
        return check(spec)
    except InvalidFields as error:
        problems = [FieldProblem(field=f"problem_spec.{p.field}", problem=p.problem) for p in error.problems]
        raise InvalidFields(problems) from None


def inferred_classes(values: TargetValues) -> tuple[ClassDefinition, ...]:
    """One class per value: numbers ascending, false before true, else in order of the alphabet."""
    distinct = values.distinct
    if not distinct:
        raise InvalidField("problem_spec.target_column", "has no value in any row. Name the classes, or another column.")
    if len(distinct) > MOST_CLASSES or (len(distinct) > _MANY and len(distinct) > values.rows / 2):
        raise _free_text(len(distinct), values.rows)
    if overlong := next((value for value in distinct if len(value) > MOST_NAME), None):
        raise InvalidField(
            "problem_spec.target_column",
            f"has a value of {len(overlong):,} characters ('{overlong[:40]}...'), too long for a class. Is it free text?",
        )
    return tuple(ClassDefinition(name=value) for value in sorted(distinct, key=_order(distinct)))


def holdout_warnings(spec: ProblemSpec, values: TargetValues) -> list[str]:
    """Classes whose holdout rows are too few to measure anything, and target values that no class claims."""
    warnings = []
    mapping = spec.value_to_class()
    counts = Counter(mapping[value] for value, rows in values.holdout.items() if value in mapping for _ in range(rows))
    few = sorted((counts[i], name) for i, name in enumerate(spec.class_names) if counts[i] < FEW_HOLDOUT_ROWS)
    if len(few) == 1:
        warnings.append(
            f"Class '{few[0][1]}' has {few[0][0]} holdout rows: with fewer than {FEW_HOLDOUT_ROWS} its scores are mostly luck."
        )
    elif few:
        shown = ", ".join(f"'{name}' ({rows})" for rows, name in few[:6]) + (" and others" if len(few) > 6 else "")
        warnings.append(
            f"{len(few)} classes have fewer than {FEW_HOLDOUT_ROWS} holdout rows, their scores are mostly luck: {shown}."
        )
    seen = values.training + values.holdout
    if strays := [value for value in seen if value not in mapping]:
        rows = sum(seen[value] for value in strays)
        shown = listed(strays, most=6)
        warnings.append(f"{rows:,} rows have target values that belong to no class and count as unlabeled: {shown}.")
    if spec.multi_label and values.missing:
        warnings.append(
            f"{values.missing:,} rows have an empty cell in '{spec.target_column}' and count as unlabeled. "
            f"Where a row has none of the classes, its cell says so by '{spec.label_separator}' alone."
        )
    if absent := [d.name for d in spec.classes if not any(value in seen for value in (*d.values, d.name))]:
        warnings.append(f"No row has a target value of these classes: {listed(absent, most=6)}.")
    return warnings


def _check_columns(draft: Draft, schema: Schema) -> None:
    spec, problems = draft.spec, []
    named: Sequence[tuple[str, Sequence[str]]] = (
        ("input_columns", draft.input_columns),
        ("excluded_columns", draft.excluded_columns),
        ("slice_columns", spec.slice_columns),
    )
    if spec.target_column and spec.target_column not in schema:
        problems.append(("target_column", _unknown(spec.target_column, schema)))
    elif spec.target_column and schema.column(spec.target_column).kind is Kind.DATETIME:
        problems.append(("target_column", f"'{spec.target_column}' holds times, which are no classes. Name another column."))
    for where, columns in named:
        for index, name in enumerate(columns):
            if name not in schema:
                problems.append((f"{where}[{index}]", _unknown(name, schema)))
            elif name in columns[:index]:
                problems.append((f"{where}[{index}]", f"'{name}' is named twice."))
            elif where == "input_columns" and schema.column(name).kind is Kind.ID:
                problem = f"'{name}' names rows and teaches nothing. Leave it out, or change its kind."
                problems.append((f"{where}[{index}]", problem))
    if draft.input_columns and draft.excluded_columns:
        problems.append(("excluded_columns", "is for specs without input_columns: set one of the two."))
    for index, definition in enumerate(spec.classes):
        if not 1 <= len(definition.name) <= MOST_NAME:
            problems.append((f"classes[{index}].name", f"must have 1 to {MOST_NAME} characters."))
    if problems:
        raise InvalidFields([FieldProblem(field=f"problem_spec.{where}", problem=problem) for where, problem in problems])


def _inputs(draft: Draft, schema: Schema, split_column: str) -> tuple[InputColumn, ...]:
    """The columns that a model reads, in the order of the schema: all but target, ids and the one that splits the holdout."""
    kinds: Mapping[str, Kind] = {column.name: column.kind for column in schema}
    if draft.input_columns:
        return tuple(InputColumn(name=name, kind=kinds[name].value) for name in draft.input_columns)
    left_out = {draft.spec.target_column, split_column, *draft.excluded_columns}
    return tuple(
        InputColumn(name=name, kind=kind.value) for name, kind in kinds.items() if name not in left_out and kind is not Kind.ID
    )


def _order(values: Iterable[str]) -> Callable[[str], tuple[float, str]]:
    numbers = {value: _number(value) for value in values}
    if any(number is None for number in numbers.values()):
        return lambda value: (0.0, value)
    return lambda value: (numbers[value] or 0.0, value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unknown(name: str, schema: Schema) -> str:
    return f"there is no column '{name[:60]}'. The columns are: {listed(schema.names)}."


def _free_text(distinct: int, rows: int) -> InvalidField:
    return InvalidField(
        "problem_spec.target_column",
        f"has {distinct:,} different values in {rows:,} labeled rows: it looks like free text, a measurement or an id. "
        "Name the classes with the source_values that each merges, or another column.",
    )
