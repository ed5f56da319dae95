"""Programs at work: a labeler's definition over Arrow batches, to votes.

A program reads its own columns, never the target and never which rows are held out; callers hand it training rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from services.common.frames.kinds import Schema, plain_text
from services.common.spec import ProblemSpec
from services.labeling.labelers import patterns
from services.labeling.labelers.rules import ColumnValue, Keyword, Program, Regex, Sql
from services.labeling.labelers.sandbox import Sandbox, SqlLimits, sandbox

NO_CLASS = -1
_EXCERPT = 300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ballots:
    """Votes on rows of a batch: `at` are positions in it, `cls` class indexes (-1: a complete answer that names none)."""

    at: npt.NDArray[np.int64]
    cls: npt.NDArray[np.int32]
    against: bool = False
    complete: bool = False


class Voter(Protocol):
    """A program that is ready to vote."""

    columns: tuple[str, ...]
    strays: Counter[str]

    def vote(self, batches: Sequence[pa.RecordBatch]) -> Ballots:
        """Votes on the rows of the batches, counted through. They have `columns`. Raises `UnsafeExpression`."""
        ...

    def excerpt(self, row: dict[str, object]) -> str:
        """What the program looked at in a row that it votes on, shortened."""
        ...


@contextmanager
def ready(program: Program, spec: ProblemSpec, schema: Schema, scratch: Path | None, limits: SqlLimits) -> Iterator[Voter]:
    """A voter for the block. Raises `UnsafeExpression` for a pattern or an expression that can't be run."""
    match program:
        case Sql():
            with sandbox(scratch, limits) as child:
                child.prepare(program.expression, schema, spec.target_column, boolean=bool(program.class_name))
                yield _SqlVoter(child, program, spec)
        case ColumnValue():
            yield _ColumnVoter(program, spec)
        case Keyword():
            pattern = patterns.keyword_pattern(program.keywords, within_words=program.within_words)
            yield _pattern_voter(program, pattern, spec, "labeler.keyword.keywords")
        case Regex():
            yield _pattern_voter(program, program.pattern, spec, "labeler.regex.pattern")


def _pattern_voter(program: Keyword | Regex, pattern: str, spec: ProblemSpec, where: str) -> Voter:
    patterns.check_pattern(pattern, where)
    return _PatternVoter(
        columns=(program.column,), pattern=pattern, cls=spec.class_names.index(program.class_name),
        case_sensitive=program.case_sensitive, against=program.against,
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _PatternVoter:
    """One class where a pattern occurs."""

    columns: tuple[str, ...]
    pattern: str
    cls: int
    case_sensitive: bool
    against: bool
    strays: Counter[str] = field(default_factory=Counter)

    def vote(self, batches: Sequence[pa.RecordBatch]) -> Ballots:
        texts = pa.chunked_array([batch.column(self.columns[0]) for batch in batches], pa.string())
        hits = patterns.matches(texts, self.pattern, case_sensitive=self.case_sensitive)
        at = np.flatnonzero(hits.to_numpy()).astype(np.int64)
        return Ballots(at=at, cls=np.full(len(at), self.cls, dtype=np.int32), against=self.against)

    def excerpt(self, row: dict[str, object]) -> str:
        return patterns.excerpt(str(row[self.columns[0]]), self.pattern, case_sensitive=self.case_sensitive, most=_EXCERPT)


class _ColumnVoter:
    """A column's value, merged into classes as the spec or the labeler says."""

    def __init__(self, program: ColumnValue, spec: ProblemSpec) -> None:
        self.columns: tuple[str, ...] = (program.column,)
        self.strays: Counter[str] = Counter()
        self._spec = spec
        self._own = {value: spec.class_names.index(name) for value, name in program.value_classes.items()}

    def vote(self, batches: Sequence[pa.RecordBatch]) -> Ballots:
        values = pa.chunked_array([batch.column(self.columns[0]) for batch in batches]).combine_chunks().dictionary_encode()
        meanings = [self._meaning(value) for value in values.dictionary.to_pylist()]
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return _spread(codes, meanings, complete=self._spec.multi_label)

    def excerpt(self, row: dict[str, object]) -> str:
        return _named_values(row, self.columns)

    def _meaning(self, value: object) -> tuple[int, ...] | None:
        text = plain_text(value)
        found = (self._own[text],) if text in self._own else self._spec.read_label(text)
        if found is None and text is not None:
            self.strays[text[:60]] += 1
        return found


class _SqlVoter:
    """The answers of an expression in its child process."""

    def __init__(self, child: Sandbox, program: Sql, spec: ProblemSpec) -> None:
        self.columns = child.columns
        self.strays: Counter[str] = Counter()
        self._child = child
        self._spec = spec
        self._cls = spec.class_names.index(program.class_name) if program.class_name else None

    def vote(self, batches: Sequence[pa.RecordBatch]) -> Ballots:
        answers = self._child.vote(batches)
        if self._cls is not None:
            at = np.flatnonzero(answers.fill_null(False).to_numpy()).astype(np.int64)
            return Ballots(at=at, cls=np.full(len(at), self._cls, dtype=np.int32))
        values = answers.combine_chunks().dictionary_encode()
        meanings = [self._meaning(value) for value in values.dictionary.to_pylist()]
        return _spread(values.indices.fill_null(-1).to_numpy(zero_copy_only=False), meanings, complete=False)

    def excerpt(self, row: dict[str, object]) -> str:
        return _named_values(row, self.columns)

    def _meaning(self, value: str) -> tuple[int, ...] | None:
        found = self._spec.read_label(value) or self._spec.read_label(value.removesuffix(".0"))
        if not found:
            self.strays[value[:60]] += 1
        return found or None


def _spread(codes: npt.NDArray[np.integer], meanings: Sequence[tuple[int, ...] | None], *, complete: bool) -> Ballots:
    """Codes (-1: missing) to one vote per row and class that its value means."""
    at: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    cls: list[npt.NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]
    order = np.argsort(codes, kind="stable")
    start = np.searchsorted(codes[order], np.arange(len(meanings) + 1))
    for code, meaning in enumerate(meanings):
        rows = order[start[code] : start[code + 1]]
        named = meaning if meaning or meaning is None else ((NO_CLASS,) if complete else ())
        for index in named or ():
            at.append(rows.astype(np.int64))
            cls.append(np.full(len(rows), index, dtype=np.int32))
    return Ballots(at=np.concatenate(at), cls=np.concatenate(cls), complete=complete)


def _named_values(row: dict[str, object], columns: Sequence[str]) -> str:
    shown = "; ".join(f"{name}: {plain_text(row[name])}" for name in columns)
    return patterns.around(shown, 0, most=_EXCERPT)
