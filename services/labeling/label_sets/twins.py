"""Appended rows that repeat a held-out row. They are kept, but whoever trained on them would know the holdout's answers.

The import keeps rows of equal content on one side. Rows that come later (`AppendRows`, feedback's cuts) never enter the
holdout, so one that repeats a held-out row would be its twin among the training rows. Two rows are twins where the columns
that models read are equal after the normalisation of `services.common.frames.holdout`; what a model can't see, such as a
column that a caller doesn't send, can't make them different. The target and what the holdout's rule ignores play no part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.common.frames.holdout import HoldoutRule, content_hashes
from services.common.frames.kinds import HOLDOUT, ROW, Schema
from services.common.frames.parquet import read_manifest, read_part, root_of
from services.common.objects.port import ObjectStore
from services.common.spec import ProblemSpec
from services.labeling.aggregation.votes import Ints
from services.labeling.datasets.model import Version

Hashes = npt.NDArray[np.uint64]


def twins_of_holdout(objects: ObjectStore, version: Version, spec: ProblemSpec, rule: HoldoutRule, *, imported: int) -> Ints:
    """Numbers of the rows from `imported` on, the first that was appended, that repeat a held-out row; ascending.

    Hashes the appended and the held-out rows, in memory of 16 bytes a row; reads nothing where either are none.
    """
    columns = compared_columns(version.schema, spec, rule)
    if version.row_count <= imported or not version.holdout_count or not columns:
        return np.empty(0, dtype=np.int64)
    rows, contents = _hashes(objects, version, columns, rule.salt, imported=imported, held_out=False)
    _, held = _hashes(objects, version, columns, rule.salt, imported=imported, held_out=True)
    return rows[np.isin(contents, held)]


def compared_columns(schema: Schema, spec: ProblemSpec, rule: HoldoutRule) -> list[str]:
    """What the holdout's rule reads and models read too; where models read nothing of it, all that the rule reads."""
    inputs = {column.name for column in spec.inputs}
    content = [name for name in rule.content_columns(schema) if name != spec.target_column]
    return [name for name in content if name in inputs] or content


def _hashes(
    objects: ObjectStore, version: Version, columns: list[str], salt: str, *, imported: int, held_out: bool
) -> tuple[Ints, Hashes]:
    """Row numbers and content hashes, of the held-out rows or else of the appended ones."""
    manifest, root = read_manifest(objects, version.object_key), root_of(version.object_key)
    rows, hashes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint64)]
    for part in manifest.parts:
        if not held_out and part.first_row + part.rows <= imported:
            continue
        for batch in read_part(objects, root, part, manifest.schema, columns):
            wanted = batch.column(HOLDOUT) if held_out else batch.column(ROW).to_numpy() >= imported
            chosen = batch.filter(wanted)
            rows.append(chosen.column(ROW).to_numpy())
            hashes.append(content_hashes(chosen, columns, salt))
    return np.concatenate(rows), np.concatenate(hashes)
