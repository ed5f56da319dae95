"""Decides what kind each column is, and says why in words.

Order of the rules: the user's word; true/false; numbers; times; then strings, by how varied, how long and how code-like they
are. Names help (`user_id`, `zip`) but never decide alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from services.common.errors import InvalidField
from services.common.frames.casting import DATE_STYLES
from services.common.frames.evidence import ColumnEvidence, TableEvidence, Trial
from services.common.frames.kinds import Column, Kind, Schema, listed

_ID_NAME = re.compile(r"(?i:(^|[\s_-])(id|uuid|guid|key|index|idx|hash|nr|no))$|[a-z](Id|ID)$")
_CODE_NAME = re.compile(r"(^|[\s_-])(zip|zipcode|postal|postcode|plz|phone|code|id|isbn|ssn)([\s_-]|$)", re.IGNORECASE)

MOSTLY = 0.99
"""Share of values that must be readable as a number or time; the others become missing, and a note says so."""


def infer_schema(evidence: TableEvidence, overrides: Mapping[str, Kind]) -> Schema:
    """The schema of a table, the user's kinds where given. Raises `InvalidField` for an override that can't work."""
    unknown = [name for name in overrides if name not in evidence.columns]
    if unknown:
        raise InvalidField(
            "column_overrides", f"the file has no column {listed(unknown)}. Its columns are: {listed(list(evidence.columns))}."
        )
    return Schema(
        tuple(
            overridden(column, overrides[name]) if name in overrides else infer_column(column)
            for name, column in evidence.columns.items()
        )
    )


def overridden(evidence: ColumnEvidence, kind: Kind, *, field: str = "column_overrides") -> Column:
    """The column as the user wants it. Raises `InvalidField` where no value can be read as that kind."""
    best = next(iter(evidence.trials(kind)), None)
    if kind.is_string or evidence.values == 0:
        return Column(name=evidence.name, kind=kind)
    if best is None or not best.fitting:
        example = best.examples[0] if best and best.examples else ""
        such_as = f", for example {example!r}" if example else ""
        raise InvalidField(field, f"no value of column '{evidence.name}' can be read as {kind.value}{such_as}.")
    return Column(name=evidence.name, kind=kind, style=_style(best))


def infer_column(evidence: ColumnEvidence) -> Column:
    """The column with its kind and the reason for it."""
    if evidence.values == 0:
        return _column(evidence, Kind.CATEGORICAL, "every value is missing")
    return _true_or_false(evidence) or _number(evidence) or _time(evidence) or _string(evidence)


def _column(evidence: ColumnEvidence, kind: Kind, because: str, style: str = "") -> Column:
    return Column(name=evidence.name, kind=kind, inferred_because=because, style=style)


def _true_or_false(evidence: ColumnEvidence) -> Column | None:
    if evidence.true_or_false == evidence.values:
        return _column(evidence, Kind.BOOLEAN, "every value is true or false")
    return None


def _number(evidence: ColumnEvidence) -> Column | None:
    trial = next(iter(evidence.trials(Kind.NUMERIC)), None)
    if trial is None or trial.fitting < MOSTLY * evidence.values:
        return None
    distinct, whole = evidence.distinct.distinct, trial.whole
    if whole and (order := _names_rows(evidence, trial)):
        return _column(evidence, Kind.ID, order)
    if evidence.leading_zeros and whole:
        return _column(evidence, Kind.CATEGORICAL, "numbers with leading zeros are codes, not amounts")
    if whole and trial.moments.minimum == 0 and trial.moments.maximum == 1 and distinct == 2:
        return _column(evidence, Kind.CATEGORICAL, "only 0 and 1 occur: two categories")
    if whole and distinct > 2 and _CODE_NAME.search(evidence.name) and not trial.unfit:
        return _column(
            evidence, Kind.CATEGORICAL, f"whole numbers, and the name '{evidence.name[:60]}' says that they are codes"
        )
    return _column(evidence, Kind.NUMERIC, _all_or_most(evidence, trial, "a number") + _spelling(trial), trial.style)


def _names_rows(evidence: ColumnEvidence, trial: Trial) -> str:
    if trial.unfit or evidence.variety < 0.999 or evidence.present < 2:
        return ""
    name = evidence.name[:60]
    if _ID_NAME.search(evidence.name):
        return f"every value differs, and the name '{name}' says that it names rows"
    if trial.steps_of_one and evidence.present >= 10 and trial.moments.minimum in (0, 1):
        return "the values count the rows"
    return ""


def _time(evidence: ColumnEvidence) -> Column | None:
    trials = sorted(evidence.trials(Kind.DATETIME), key=lambda trial: (-trial.fitting, _rank(trial.style)))
    if not trials or trials[0].fitting < MOSTLY * evidence.values:
        return None
    best = trials[0]
    rivals = [
        t.style
        for t in trials[1:]
        if t.fitting == best.fitting and t.style.replace("%d", "%m") == best.style.replace("%d", "%m")
    ]
    doubt = f"; {rivals[0]} fits as well, set the kind by hand if the dates are wrong" if rivals else ""
    return _column(evidence, Kind.DATETIME, _all_or_most(evidence, best, "a time") + _spelling(best) + doubt, _style(best))


def _rank(style: str) -> int:
    return DATE_STYLES.index(style) if style in DATE_STYLES else -1


def _style(trial: Trial) -> str:
    return trial.style if trial.style in DATE_STYLES or trial.kind is Kind.NUMERIC else ""


def _string(evidence: ColumnEvidence) -> Column:
    """Long or varied phrases are text; few values are categories; many short codes name rows; the rest is text."""
    n, distinct, variety = evidence.present, evidence.distinct.distinct, evidence.variety
    words = evidence.mean_words
    seen = f"{n:,} values, {distinct:,} different, {words:.1f} words each on average"
    if words >= 4 or evidence.mean_characters >= 60:
        few = (distinct <= 20 and variety <= 0.2) or variety <= 0.02
        return _column(evidence, Kind.CATEGORICAL if few else Kind.TEXT, seen)
    if evidence.one_word and variety > 0.98 and n >= 2 and (_ID_NAME.search(evidence.name) or (evidence.codes and n >= 20)):
        return _column(evidence, Kind.ID, f"{seen}: a code that names its row")
    if evidence.codes and evidence.one_word and variety > 0.5 and _ID_NAME.search(evidence.name):
        return _column(evidence, Kind.ID, f"{seen}: codes, and the name says that they name something")
    if words >= 2.5 and distinct > 20 and variety > 0.1:
        return _column(evidence, Kind.TEXT, f"{seen}: phrases")
    if variety <= 0.5 or (distinct <= 20 and words < 2):
        return _column(evidence, Kind.CATEGORICAL, seen)
    return _column(evidence, Kind.TEXT, seen)


def _all_or_most(evidence: ColumnEvidence, trial: Trial, what: str) -> str:
    if not trial.unfit:
        return f"every value is {what}"
    return f"{trial.fitting:,} of {evidence.values:,} values are {what}"


def _spelling(trial: Trial) -> str:
    known = {
        "": "",
        "ISO8601": "",
        "thousands": " (commas part the thousands)",
        "decimal_comma": " (the comma is the decimal mark)",
    }
    return known.get(trial.style, f" spelled {trial.style}")


def lost_values(evidence: ColumnEvidence, column: Column) -> str:
    """A sentence about values that can't be read as the column's kind and become missing; empty where there are none."""
    trial = next((t for t in evidence.trials(column.kind) if _style(t) == column.style), None)
    if column.kind.is_string or trial is None or not trial.unfit:
        return ""
    examples = ", ".join(repr(example) for example in trial.examples)
    values, count = ("value", "counts") if trial.unfit == 1 else ("values", "count")
    lost = f"{trial.unfit:,} {values} can't be read as {column.kind.value} and {count} as missing"
    return f"Column '{column.name}': {lost}, for example {examples}."
