"""Which rows are never trained on: by a split column, or by a salted hash of the row's normalised content.

The hash reads every column but ids and those that the rule ignores, each value as its kind has it (numbers without idle
zeros, times as microseconds since 1970), so that a table has the same holdout whether it comes as CSV or as Parquet. Text is
compared after Unicode NFKC, lower case and with runs of white space as one space, so rows that a person would call the same
fall on the same side. It is BLAKE2b with 8 bytes of digest, the salt as key, over `name US text RS` of each column in order
of name: the same everywhere, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from services.common.errors import FieldProblem, InvalidField, InvalidFields
from services.common.frames.casting import as_text
from services.common.frames.kinds import Kind, Schema, listed

DEFAULT_SHARE = 0.2
DEFAULT_SPLIT_VALUES = ("test", "holdout", "true", "1")
_GAPS = r"\s\s+|[\t\n\v\f\r]"  # matches only what changes: replacing every space by itself took a third of an import
_US, _RS = "\x1f", "\x1e"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutRule:
    """How rows come into the holdout. With a split column, `share` and `salt` play no part."""

    split_column: str = ""
    split_values: tuple[str, ...] = ()
    share: float = DEFAULT_SHARE
    salt: str = ""
    ignored_columns: tuple[str, ...] = ()

    def check(self, schema: Schema) -> None:
        """Raises `InvalidFields` where the rule names columns that don't exist or can't be."""
        problems = []
        if not 0 < self.share < 1:
            problems.append(FieldProblem(field="holdout.share", problem=f"{self.share} isn't between 0 and 1."))
        if len(self.salt.encode()) > blake2b.MAX_KEY_SIZE:
            problems.append(FieldProblem(field="holdout.salt", problem=f"is longer than {blake2b.MAX_KEY_SIZE} bytes."))
        named = [("holdout.split_column", self.split_column)] if self.split_column else []
        named += [(f"holdout.ignored_columns[{i}]", name) for i, name in enumerate(self.ignored_columns)]
        for field, name in named:
            if name not in schema:
                problems.append(
                    FieldProblem(field=field, problem=f"there is no column '{name}'; there are {listed(schema.names)}.")
                )
        if problems:
            raise InvalidFields(problems)

    def content_columns(self, schema: Schema) -> list[str]:
        """The columns that the hash reads, in order of name; all where none would remain."""
        left_out = {*self.ignored_columns, self.split_column}
        names = [c.name for c in schema if c.kind is not Kind.ID and c.name not in left_out]
        return sorted(names or schema.names)

    def held_out(self, batch: pa.RecordBatch, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Of each row of a batch of typed columns, whether it is held out. `hashes` are its `content_hashes`."""
        if not self.split_column:
            return hashes < np.uint64(int(self.share * 2**64))
        wanted = [value.strip().lower() for value in self.split_values or DEFAULT_SPLIT_VALUES]
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(batch.column(self.split_column))))
        held: npt.NDArray[np.bool_] = pc.is_in(texts, pa.array(wanted)).to_numpy(zero_copy_only=False)
        return held

    def check_outcome(self, rows: int, held_out: int, seen_values: Sequence[str]) -> str:
        """A note where the outcome is odd, else nothing. Raises `InvalidField` where the split column holds no row out."""
        if self.split_column and not held_out:
            wanted = listed(self.split_values or DEFAULT_SPLIT_VALUES)
            raise InvalidField(
                "holdout.split_values",
                f"no row of '{self.split_column}' has one of the values {wanted}. Seen: {listed(seen_values)}.",
            )
        if held_out == rows:
            return "Every row is held out, so nothing is left to train on."
        few = f"of {rows:,} rows, equal ones counted once, none fell into the share of {self.share:g}"
        return "" if held_out else f"No row is held out: {few}. Scores need some: import more rows, or name a split column."


def content_hashes(batch: pa.RecordBatch, columns: Sequence[str], salt: str) -> npt.NDArray[np.uint64]:
    """A hash of each row's normalised content, of a batch of typed columns."""
    if not batch.num_rows:
        return np.empty(0, dtype=np.uint64)
    parts: list[object] = []
    for name in columns:
        parts += [pa.scalar(name + _US), _content(batch.column(name)), pa.scalar(_RS)]
    joined = pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="")
    key = salt.encode()
    digests = b"".join(blake2b(text.encode(), digest_size=8, key=key).digest() for text in joined.to_pylist())
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def _content(values: pa.Array) -> pa.StringArray:
    if pa.types.is_string(values.type):
        return normalised(values)
    return pc.cast(pc.cast(values, pa.int64()), pa.string()) if pa.types.is_timestamp(values.type) else as_text(values)


def normalised(texts: pa.StringArray) -> pa.StringArray:
    """NFKC, lower case, runs of white space as one space, none at the ends."""
    if pc.all(pc.string_is_ascii(texts)).as_py() is False:
        lowered = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    else:
        lowered = pc.ascii_lower(texts)
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(lowered, _GAPS, " "))
