"""What can be done with problem specs: create one against its data set, look it up, list them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy.orm import Session

from services.common import names
from services.common.database import Database
from services.common.errors import AlreadyExists, InvalidField
from services.common.frames.kinds import HOLDOUT, ROW, Kind
from services.common.frames.parquet import read_version
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.datasets import storage as datasets
from services.labeling.datasets.model import DATASET, PROJECT, Dataset
from services.labeling.request_ids import IdempotencyKey
from services.labeling.specs import leaks, storage
from services.labeling.specs.rules import Draft, TargetValues, complete, holdout_warnings
from services.labeling.specs.storage import StoredSpec

SPEC = "projects/{project}/problemSpecs/{problem_spec}"


def get_spec(session: Session, name: str) -> ProblemSpec:
    """A spec by its full name. Raises `InvalidField`, `NotFound`."""
    return read_spec(session, name).spec


def read_spec(session: Session, name: str, field: str = "name") -> StoredSpec:
    """A spec as it is stored. Raises `InvalidField`, `NotFound`."""
    names.parse(SPEC, name, field)
    return storage.read_spec(session, name)


class Specs:
    """The problem specs of all projects. Safe for many threads."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    def create(self, parent: str, spec_id: str, draft: Draft, *, request_id: str = "", fingerprint: str = "") -> StoredSpec:
        """A new spec, classes and inputs filled in. Raises `AlreadyExists`, `InvalidField`, `InvalidFields`, `NotFound`."""
        names.parse(PROJECT, parent, "parent")
        name = f"{parent}/problemSpecs/{names.check_id(spec_id, 'problem_spec_id')}"
        key = {"scope": f"{parent}/problemSpecs", "request_id": request_id, "fingerprint": fingerprint}
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_spec(session, before)
        spec = self._completed(replace(draft, spec=replace(draft.spec, name=name, warnings=())), parent)
        with self._database.session() as session:
            if before := recall(session, IdempotencyKey, **key):
                return storage.read_spec(session, before)
            if storage.exists(session, name):
                raise AlreadyExists("problem spec", name)
            storage.add_spec(session, spec, input_columns=draft.input_columns, excluded_columns=draft.excluded_columns)
            remember(session, IdempotencyKey, **key, result=name)
            return storage.read_spec(session, name)

    def get(self, name: str) -> StoredSpec:
        """Raises `InvalidField`, `NotFound`."""
        with self._database.reading() as session:
            return read_spec(session, name)

    def list_specs(self, parent: str, ask: Asked) -> tuple[list[StoredSpec], str]:
        """A page of a project's specs, newest first, and the token of the next."""
        names.parse(PROJECT, parent, "parent")
        with self._database.reading() as session:
            return storage.read_specs(session, parent, ask)

    def _completed(self, draft: Draft, parent: str) -> ProblemSpec:
        dataset, version_number = self._subject(draft, parent)
        values = self._target_values(dataset, draft) if draft.spec.target_column in dataset.latest.schema else None
        numbered = replace(draft, spec=replace(draft.spec, version=version_number))
        spec = complete(numbered, dataset.latest.schema, values, split_column=dataset.holdout.split_column)
        warnings = [] if values is None else holdout_warnings(spec, values) + self._leaks(dataset, spec)
        return replace(spec, warnings=tuple(warnings))

    def _subject(self, draft: Draft, parent: str) -> tuple[Dataset, int]:
        """The data set, and the spec's number in its line."""
        named = draft.spec
        if f"{names.parse(DATASET, named.dataset, 'problem_spec.dataset')['project']}" != parent.removeprefix("projects/"):
            raise InvalidField("problem_spec.dataset", f"'{named.dataset}' belongs to another project than '{parent}'.")
        with self._database.reading() as session:
            dataset = datasets.get_dataset(session, named.dataset)
            if not named.supersedes:
                return dataset, 1
            if not named.supersedes.startswith(f"{parent}/problemSpecs/"):
                raise InvalidField("problem_spec.supersedes", f"'{named.supersedes}' is not a spec of '{parent}'.")
            return dataset, read_spec(session, named.supersedes, "problem_spec.supersedes").spec.version + 1

    def _target_values(self, dataset: Dataset, draft: Draft) -> TargetValues:
        values = TargetValues()
        target = draft.spec.target_column
        separator = draft.spec.label_separator if draft.spec.multi_label else None
        for batch in self._batches(dataset, [target]):
            values.add(batch.column(target).to_pylist(), batch.column(HOLDOUT).to_pylist(), separator=separator)
        return values

    def _leaks(self, dataset: Dataset, spec: ProblemSpec) -> list[str]:
        """Looks at an even sample of the training rows, never at texts."""
        names_read = [column.name for column in spec.inputs if column.kind != Kind.TEXT.value]
        if not names_read:
            return []
        step = max(1, -(-dataset.latest.row_count // leaks.MOST_ROWS))
        kept = []
        for batch in self._batches(dataset, [*names_read, spec.target_column]):
            rows = batch.column(ROW).to_numpy()
            training = ~batch.column(HOLDOUT).to_numpy(zero_copy_only=False)
            kept.append(batch.filter(pa.array(training & (rows % step == 0), pa.bool_())))
        frame = pa.Table.from_batches(kept).to_pandas() if kept else pd.DataFrame(columns=[*names_read, spec.target_column])
        target = frame[spec.target_column].replace({np.nan: None}).tolist()
        return leaks.leak_warnings(spec, {name: frame[name] for name in names_read}, target)

    def _batches(self, dataset: Dataset, columns: list[str]) -> Iterator[pa.RecordBatch]:
        return read_version(self._objects, dataset.latest.object_key, columns)
