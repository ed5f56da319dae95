"""What a person sees of each column: how full, how varied, which values, and what to look out for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from services.common.frames.casting import as_text
from services.common.frames.evidence import ColumnEvidence, TableEvidence, Trial
from services.common.frames.holdout import HoldoutRule, content_hashes
from services.common.frames.inference import lost_values
from services.common.frames.kinds import HOLDOUT, ROW, Column, Kind, Schema
from services.common.frames.sketch import Distinct

_FEW_NUMBERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What was seen in one column. Numbers are of the values, times of seconds since 1970."""

    column: str
    kind: Kind
    present: int
    missing: int
    distinct: int
    top_values: tuple[tuple[str, int], ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    mean_length: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was seen in a version."""

    row_count: int
    holdout_count: int
    duplicate_rows: int
    columns: tuple[ColumnProfile, ...]

    def to_json(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Profile:
        """Reads what `to_json` wrote."""
        stored = json.loads(content)
        columns = tuple(
            ColumnProfile(
                **{
                    **column,
                    "kind": Kind(column["kind"]),
                    "warnings": tuple(column["warnings"]),
                    "top_values": tuple((value, count) for value, count in column["top_values"]),
                }
            )
            for column in stored.pop("columns")
        )
        return cls(**stored, columns=columns)


def profile_of(evidence: TableEvidence, schema: Schema, *, holdout_count: int, duplicate_rows: int) -> Profile:
    """The profile of a table that was read whole."""
    columns = tuple(_column_profile(evidence.columns[column.name], column) for column in schema)
    return Profile(row_count=evidence.rows, holdout_count=holdout_count, duplicate_rows=duplicate_rows, columns=columns)


def profile_of_batches(batches: Iterable[pa.RecordBatch], schema: Schema, rule: HoldoutRule) -> Profile:
    """The profile of stored, typed batches (those of `parquet.read_version`)."""
    evidence = TableEvidence({column.name: column.kind for column in schema})
    contents, held_out = Distinct(), 0
    for batch in batches:
        held_out += batch.column(HOLDOUT).true_count
        kept = [name for name in batch.schema.names if name not in (ROW, HOLDOUT)]
        texts = pa.RecordBatch.from_arrays([as_text(batch.column(name)) for name in kept], names=kept)
        evidence.add(texts)
        contents.add(content_hashes(batch, rule.content_columns(schema), rule.salt))
    plain = Schema(tuple(replace(column, style="") for column in schema))
    return profile_of(evidence, plain, holdout_count=held_out, duplicate_rows=contents.repeats)


def _column_profile(evidence: ColumnEvidence, column: Column) -> ColumnProfile:
    trial = None if column.kind.is_string else _trial_of(evidence, column)
    present = evidence.present if column.kind.is_string else (trial.fitting if trial else 0)
    distinct = min(evidence.distinct.distinct, present)
    profile = ColumnProfile(
        column=column.name,
        kind=column.kind,
        present=present,
        missing=evidence.rows - present,
        distinct=distinct,
        top_values=_top_values(evidence, column, distinct),
        warnings=tuple(_warnings(evidence, column, present, distinct)),
    )
    if column.kind is Kind.TEXT:
        return replace(profile, mean_length=evidence.mean_characters)
    if trial is None or not present or column.kind is Kind.BOOLEAN:
        return profile
    moments = trial.moments
    profile = replace(profile, minimum=moments.minimum, maximum=moments.maximum)
    if column.kind is Kind.NUMERIC:
        profile = replace(profile, mean=moments.mean, standard_deviation=moments.standard_deviation)
    return profile


def _trial_of(evidence: ColumnEvidence, column: Column) -> Trial | None:
    trials = evidence.trials(column.kind)
    return next((t for t in trials if t.style == column.style), trials[0] if trials else None)


def _top_values(evidence: ColumnEvidence, column: Column, distinct: int) -> tuple[tuple[str, int], ...]:
    if column.kind is Kind.NUMERIC and distinct > _FEW_NUMBERS:
        return ()
    least = 1 if column.kind in (Kind.CATEGORICAL, Kind.BOOLEAN, Kind.NUMERIC) else 2
    return tuple((value, count) for value, count in evidence.frequent.top(20) if count >= least)


def _warnings(evidence: ColumnEvidence, column: Column, present: int, distinct: int) -> Iterable[str]:
    if not present:
        yield "Every value is missing: the column can't help a model."
        return
    if distinct == 1 and present == evidence.rows > 1:
        yield "All values are the same: the column can't help a model."
    if evidence.rows - present > 0.5 * evidence.rows:
        yield f"{(evidence.rows - present) / evidence.rows:.0%} of the values are missing."
    if column.kind is Kind.CATEGORICAL and present >= 50 and evidence.variety > 0.8:
        yield "Nearly every value differs: as a category it can't be learned from. Is it text, or does it name its row?"
    if column.kind.is_string and evidence.stand_ins:
        count = f"{evidence.stand_ins:,} {'value reads' if evidence.stand_ins == 1 else 'values read'}"
        yield f"{count} like 'no value' (NA, null, -) and {'is' if evidence.stand_ins == 1 else 'are'} kept as written."
    if lost := lost_values(evidence, column):
        yield lost
