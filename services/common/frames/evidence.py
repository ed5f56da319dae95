"""What one pass over a column of text shows, in bounded memory: the grounds for its kind and for its profile.

Each column keeps a sketch of its values and a set of trials: spellings of numbers and times that its values may follow. A
trial that fails on most of the first thousand values is dropped, so a long text costs no number parsing.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from services.common.frames.casting import (
    DATE_STYLES,
    ISO,
    NumberStyle,
    booleans,
    instants,
    numbers,
    without_missing_words,
)
from services.common.frames.kinds import Kind
from services.common.frames.sketch import Distinct, Frequent, Moments, hashes_of

_PATIENCE = 1_000
_SAMPLE = 1_000  # of each batch
_EXAMPLES = 3
_BUDGET = 3_200_000  # sketch entries over all columns; one entry takes 16 bytes


class Trial:
    """One way to read a column: how many values it fits, and the moments of those."""

    def __init__(self, kind: Kind, style: str = "") -> None:
        self.kind = kind
        self.style = style
        self.fitting = 0
        self.unfit = 0
        self.moments = Moments()
        self.examples: list[str] = []
        """Values that did not fit."""
        self.whole = True
        """Numbers: whether all are whole."""
        self.steps_of_one = True
        """Numbers: whether each is one more than the one before."""
        self._last: float | None = None

    def add(self, texts: pa.StringArray) -> int:
        """Tries a batch without missing values; returns how many did not fit."""
        values = self._read(texts)
        if values.null_count and len(self.examples) < _EXAMPLES:
            odd = pc.filter(texts, pc.is_null(values)).slice(0, _EXAMPLES - len(self.examples))
            self.examples += [text[:60] for text in odd.to_pylist()]
        floats = self._floats(values)
        self.fitting += len(floats)
        self.unfit += values.null_count
        self.moments.add(floats)
        if self.kind is Kind.NUMERIC:
            self._look_for_order(floats)
        return int(values.null_count)

    def _read(self, texts: pa.StringArray) -> pa.Array:
        if self.kind is Kind.NUMERIC:
            return numbers(texts, NumberStyle(self.style))
        return booleans(texts) if self.kind is Kind.BOOLEAN else instants(texts, self.style)

    def _floats(self, values: pa.Array) -> npt.NDArray[np.float64]:
        present = values.drop_null()
        if self.kind is Kind.DATETIME:
            microseconds: npt.NDArray[np.int64] = pc.cast(present, pa.int64()).to_numpy(zero_copy_only=False)
            return microseconds / 1e6
        floats: npt.NDArray[np.float64] = pc.cast(present, pa.float64()).to_numpy(zero_copy_only=False)
        return floats

    def _look_for_order(self, floats: npt.NDArray[np.float64]) -> None:
        if not len(floats):
            return
        self.whole = self.whole and bool((floats == np.floor(floats)).all())
        joined = floats if self._last is None else np.concatenate([[self._last], floats])
        self.steps_of_one = self.steps_of_one and bool((np.diff(joined) == 1).all())
        self._last = float(floats[-1])


class ColumnEvidence:
    """All that is remembered of one column. Not for use from two threads."""

    def __init__(self, name: str, *, capacity: int, wanted: Kind | None = None) -> None:
        self.name = name
        self.wanted = wanted
        self.rows = 0
        self.present = 0
        self.stand_ins = 0
        """Values such as `NA` that stand for no value."""
        self.distinct = Distinct(capacity)
        self.frequent = Frequent(min(20_000, capacity))
        self.characters = 0
        self.longest = 0
        self.sampled = 0
        self.sampled_spaces = 0
        self.one_word = True
        """Whether no value of the sample has a space."""
        self.leading_zeros = False
        self.codes = True
        """Whether every value is one token of letters, digits, `-` and `_`, with a digit in it."""
        self.true_or_false = 0
        self._trials: list[Trial] | None = None

    def add(self, texts: pa.StringArray) -> None:
        """Takes a batch."""
        self.rows += len(texts)
        values = texts.drop_null() if texts.null_count else texts
        if not len(values):
            return
        self.present += len(values)
        self.distinct.add(hashes_of(values))
        self.frequent.add(values)
        self._measure(values)
        self._try(values)

    def add_missing(self, rows: int) -> None:
        """Counts rows that came before the column did."""
        self.rows += rows

    def trials(self, kind: Kind) -> list[Trial]:
        """The trials of a kind that are still alive, the best fitting first."""
        return sorted((trial for trial in self._trials or [] if trial.kind is kind), key=lambda trial: -trial.fitting)

    @property
    def values(self) -> int:
        """Values that don't merely stand for "no value"."""
        return self.present - self.stand_ins

    @property
    def mean_characters(self) -> float:
        """Mean length in characters."""
        return self.characters / self.present if self.present else 0.0

    @property
    def mean_words(self) -> float:
        """Words a value, counted by the spaces between them, in a sample of the values."""
        return 1 + self.sampled_spaces / self.sampled if self.sampled else 0.0

    @property
    def variety(self) -> float:
        """Share of values that differ from all others."""
        return min(1.0, self.distinct.distinct / self.present) if self.present else 0.0

    def _measure(self, values: pa.StringArray) -> None:
        lengths = pc.utf8_length(values)
        self.characters += pc.sum(lengths).as_py()
        self.longest = max(self.longest, pc.max(lengths).as_py())
        gaps = pc.count_substring(values.slice(0, _SAMPLE), " ")
        self.sampled += len(gaps)
        self.sampled_spaces += pc.sum(gaps).as_py()
        self.one_word = self.one_word and pc.max(gaps).as_py() == 0
        if self.codes:
            self.codes = bool(pc.all(pc.match_substring_regex(values, r"^[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*$")).as_py())

    def _try(self, values: pa.StringArray) -> None:
        if self._trials == []:
            return
        texts = without_missing_words(values)
        self.stand_ins += texts.null_count
        texts = texts.drop_null()
        if not len(texts):
            return
        if self._trials is None:
            self._trials = list(self._first_trials(texts))
        for trial in list(self._trials):
            self._try_one(trial, texts)

    def _first_trials(self, texts: pa.StringArray) -> Iterator[Trial]:
        sample = texts.slice(0, 200)
        if self.wanted in (None, Kind.BOOLEAN):
            yield Trial(Kind.BOOLEAN)
        if self.wanted in (None, Kind.NUMERIC):
            yield Trial(Kind.NUMERIC)
        if self.wanted is Kind.DATETIME or (self.wanted is None and _may_be_times(sample)):
            yield from (Trial(Kind.DATETIME, style) for style in _time_styles(sample))

    def _try_one(self, trial: Trial, texts: pa.StringArray) -> None:
        assert self._trials is not None
        before = deepcopy(trial) if trial.kind is Kind.NUMERIC and trial.style == "" else None
        unfit = trial.add(texts)
        if trial.kind is Kind.NUMERIC and not self.leading_zeros:
            self.leading_zeros = bool(pc.any(pc.match_substring_regex(texts, r"^[+-]?0[0-9]")).as_py())
        if trial.kind is Kind.BOOLEAN:
            words = pc.is_in(pc.utf8_lower(texts), pa.array(["true", "false"]))
            self.true_or_false += pc.sum(words).as_py() or 0
        if unfit and before is not None and len(self.trials(Kind.NUMERIC)) == 1:
            self._fork(before, texts)
        if trial.unfit >= _PATIENCE and trial.unfit > trial.fitting and self.wanted is None:
            self._trials.remove(trial)

    def _fork(self, before: Trial, texts: pa.StringArray) -> None:
        """Numbers that aren't plain: what was plain so far is read the same by the other styles, by decimal comma if whole."""
        assert self._trials is not None
        for style in (NumberStyle.THOUSANDS, NumberStyle.DECIMAL_COMMA):
            if style is NumberStyle.THOUSANDS or before.whole:
                other = deepcopy(before)
                other.style = style
                other.add(texts)
                self._trials.append(other)


def _may_be_times(sample: pa.StringArray) -> bool:
    """Whether any value has digits parted by something else than a number would, and none is as long as a sentence."""
    parted = pc.match_substring_regex(sample, r"[0-9].*[^0-9.,+eE-]|[0-9]-[0-9]|[0-9]\.[0-9]+\.[0-9]")
    return bool(pc.max(pc.binary_length(sample)).as_py() <= 40 and pc.any(parted).as_py())


def _time_styles(sample: pa.StringArray) -> list[str]:
    """The spellings that fit at least half of the sample; ISO 8601 alone where it does, and where none does."""
    if instants(sample, ISO).null_count < 0.5 * len(sample):
        return [ISO]
    few = sample.slice(0, 10).to_pylist()
    likely = [style for style in DATE_STYLES if any(_is_time(text, style) for text in few)]
    return [style for style in likely if instants(sample, style).null_count < 0.5 * len(sample)] or [ISO]


def _is_time(text: str, style: str) -> bool:
    try:
        datetime.strptime(text, style)
    except ValueError:
        return False
    return True


class TableEvidence:
    """The evidence of every column of a table whose columns may grow in number while it is read."""

    def __init__(self, wanted: dict[str, Kind] | None = None) -> None:
        self.columns: dict[str, ColumnEvidence] = {}
        self.rows = 0
        self._wanted = wanted or {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes a batch of strings."""
        capacity = min(100_000, max(1_000, _BUDGET // max(batch.num_columns, 1)))
        for name, texts in zip(batch.schema.names, batch.columns, strict=True):
            if name not in self.columns:
                self.columns[name] = ColumnEvidence(name, capacity=capacity, wanted=self._wanted.get(name))
                self.columns[name].add_missing(self.rows)
            self.columns[name].add(texts)
        self.rows += batch.num_rows
