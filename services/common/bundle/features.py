"""From columns to the inputs of the graph, modality by modality.

A `Reader` is a fitted featurizer with the columns that it reads. Training builds readers, trains on what they answer, and
stores them; serving opens them again. Both call the same `read`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from services.common.bundle.encoder import Encoder
from services.common.bundle.table import Table
from services.common.bundle.terms import Ragged, Terms, join_texts
from services.common.bundle.tokens import Vocabulary
from services.common.bundle.values import Columns, Strings, Warning

Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]
Feature = Ragged | Array
Source = Terms | Vocabulary | Encoder | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How one modality (`text` or `table`) is read from `columns`."""

    modality: str
    columns: tuple[str, ...]
    source: Source

    def read(self, columns: Columns, rows: int) -> Feature:
        """Features of all rows: ragged terms, `(rows, words)` numbers, or `(rows, width)` vectors or table."""
        if isinstance(self.source, Table):
            return self.source.transform(columns, rows)
        texts = join_texts([cast(Strings, columns[name]) for name in self.columns])
        return self.source.encode(texts) if isinstance(self.source, Encoder) else self.source.transform(texts)

    def warn_of_length(self, columns: Columns, warnings: list[list[Warning]]) -> None:
        """Adds a warning wherever a text is longer than what the model reads of it."""
        source = self.source
        if isinstance(source, Table | Terms):
            return
        longest, field = source.longest, ", ".join(self.columns)
        for i, text in enumerate(join_texts([cast(Strings, columns[name]) for name in self.columns])):
            # A token has a character at least, so most texts needn't be counted.
            if len(text) > longest and (count := source.count(text)) > longest:
                problem = f"has {count:,} tokens, of which the model reads the first {longest:,}."
                warnings[i].append(Warning(field=field, problem=problem))


def read_all(readers: Sequence[Reader], columns: Columns, rows: int) -> dict[str, Feature]:
    """Features by modality."""
    return {reader.modality: reader.read(columns, rows) for reader in readers}


def feed(features: Mapping[str, Feature]) -> dict[str, Array]:
    """The graph's inputs by name: `<modality>`, or `<modality>_index` and `<modality>_value` where rows are ragged."""
    inputs: dict[str, Array] = {}
    for modality, feature in features.items():
        if isinstance(feature, Ragged):
            inputs[f"{modality}_index"], inputs[f"{modality}_value"] = feature.padded()
        else:
            inputs[modality] = feature
    return inputs


def take(features: Mapping[str, Feature], rows: npt.NDArray[np.int64]) -> dict[str, Feature]:
    """The features of the rows with these numbers."""
    return {m: f.take(rows) if isinstance(f, Ragged) else f[rows] for m, f in features.items()}


def slice_columns(columns: Columns, start: int, stop: int) -> Columns:
    """The columns of a run of rows."""
    return {name: values[start:stop] for name, values in columns.items()}
