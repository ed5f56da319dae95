"""From labeled rows to features: which columns each modality reads, fitted readers, and what was left out and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from services.common.bundle.features import Feature, Reader, Source
from services.common.bundle.terms import join_texts
from services.common.bundle.values import Column, Columns, Input, Strings
from services.common.errors import FailedPrecondition
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.training.baselines import Ground
from services.training.data import Examples
from services.training.designs import Design, Tabular, Text
from services.training.representations.brew import fit_terms
from services.training.representations.tabular import fit_table
from services.training.representations.transformer import Exported, open_encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """`design` is the one that the columns allow; `unused` are inputs that no reader reads."""

    design: Design
    readers: list[Reader]
    features: dict[str, Feature]
    encoder: Exported | None
    unused: tuple[str, ...]
    notes: list[str]

    def read(self, columns: Columns, rows: int) -> dict[str, Feature]:
        """The features of other rows."""
        return {reader.modality: reader.read(columns, rows) for reader in self.readers}

    def without(self, spec: ProblemSpec, reads: tuple[str, ...] | None) -> Prepared:
        """The same with the readers of these modalities alone."""
        if reads is None:
            return self
        readers = [reader for reader in self.readers if reader.modality in reads]
        return replace(self, readers=readers, unused=_unused(spec, readers))


def inputs_of(spec: ProblemSpec, columns: Columns, styles: dict[str, str], unused: tuple[str, ...]) -> tuple[Input, ...]:
    """The inputs that the model reads, with what training saw of them."""
    return tuple(_input(i.name, i.kind, columns[i.name], styles.get(i.name, "")) for i in spec.inputs if i.name not in unused)


def prepare(
    design: Design, spec: ProblemSpec, examples: Examples, objects: ObjectStore, cache_dir: Path, checkpoints: Path | None
) -> Prepared:
    """Fits every reader of the design on the training rows. Raises `FailedPrecondition` where no column is left to read."""
    notes = list[str]()
    texts = [i.name for i in spec.inputs if i.kind == "text"]
    tabular = [Input(name=i.name, kind=i.kind) for i in spec.inputs if i.kind != "text"]
    readers, features, encoder = list[Reader](), dict[str, Feature](), None
    filled = [name for name in texts if any(cast(Strings, examples.columns[name]))]
    notes += [f"'{name}' was left out: it has no value in any training row." for name in texts if name not in filled]
    if design.text is not Text.NONE and filled:
        joined = join_texts([cast(Strings, examples.columns[name]) for name in filled])
        encoder = open_encoder(design, objects, cache_dir, checkpoints) if design.encoder else None
        source, feature = _read_text(design, joined, encoder, len(spec.classes))
        if feature is not None:
            readers.append(Reader(modality="text", columns=tuple(filled), source=source))
            features["text"] = feature
    if design.tabular is not Tabular.NONE and tabular:
        table, left_out = fit_table(examples.columns, tabular)
        notes += left_out
        if table.width:
            readers.append(Reader(modality="table", columns=tuple(b.name for b in table.blocks), source=table))
            features["table"] = table.transform(examples.columns, len(examples))
    if not readers:
        raise FailedPrecondition(_nothing_to_read(design, texts, tabular, notes), reason="NO_USABLE_INPUT")
    fitting = _without_missing(design, features, notes)
    unused = _unused(spec, readers)
    return Prepared(design=fitting, readers=readers, features=features, encoder=encoder, unused=unused, notes=notes)


def ground(spec: ProblemSpec, prepared: Prepared, training: Examples, holdout: Examples, weights: np.ndarray) -> Ground:
    """What the baselines learn from: terms and table, taken from the design's own readers where it has them."""
    plain = Design()
    whole = prepared if prepared.design == plain else prepare(plain, spec, training, cast(ObjectStore, None), Path(), None)
    terms = next((len(r.source.terms) for r in whole.readers if r.modality == "text"), 0)  # type: ignore[union-attr]
    return Ground(
        training=whole.features,
        holdout=whole.read(holdout.columns, len(holdout)),
        terms=terms,
        targets=training.targets,
        weights=weights,
        gold=training.gold,
        holdout_rows=len(holdout),
    )


def _unused(spec: ProblemSpec, readers: list[Reader]) -> tuple[str, ...]:
    read = {name for reader in readers for name in reader.columns}
    return tuple(i.name for i in spec.inputs if i.name not in read)


def _read_text(design: Design, texts: list[str], encoder: Exported | None, classes: int) -> tuple[Source, Feature | None]:
    if encoder is not None:
        return encoder.encoder, encoder.encoder.encode(texts)
    if design.text is Text.GRU:
        from services.training.representations.gru import fit_vocabulary

        vocabulary = fit_vocabulary(texts, design.longest)
        return vocabulary, vocabulary.transform(texts)
    terms, features = fit_terms(texts, classes)
    return terms, features if terms.terms else None


def _without_missing(design: Design, features: dict[str, Feature], notes: list[str]) -> Design:
    """The design without the modalities that the columns don't have."""
    if design.text is not Text.NONE and "text" not in features:
        if design.text is not Text.BREW:
            notes.append("The design reads text, but no text column has one: only the table is read.")
        design = replace(design, text=Text.NONE, checkpoint="")
    if design.tabular is not Tabular.NONE and "table" not in features:
        if design.tabular is not Tabular.LINEAR:
            notes.append("The design reads the table, but no column of it can be used: only text is read.")
        design = replace(design, tabular=Tabular.NONE)
    return design


def _nothing_to_read(design: Design, texts: list[str], tabular: list[Input], notes: list[str]) -> str:
    if design.text is Text.NONE and texts and not tabular:
        return "The design reads only the table, and the spec has only text columns. Choose a design that reads text."
    if design.tabular is Tabular.NONE and tabular and not texts:
        return "The design reads only text, and the spec has no text column. Choose a design that reads the table."
    return " ".join(["No input column can be used.", *notes, "Name other columns in the spec, or another design."])


def _input(name: str, kind: str, values: Column, style: str) -> Input:
    if isinstance(values, list):
        return Input(name=name, kind=kind, missing_seen=None in values, style=style)
    there = values[~np.isnan(values)]
    ranged = kind in ("numeric", "datetime") and len(there)
    return Input(
        name=name, kind=kind, missing_seen=len(there) < len(values), style=style,
        low=float(there.min()) if ranged else None, high=float(there.max()) if ranged else None,
    )  # fmt: skip
