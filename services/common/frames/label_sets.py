"""A label set as one Parquet object: the votes of a data set's rows, aggregated to a probability per class.

Key `{project}/{dataset}/labelsets/{sha256}.parquet` in the bucket of data sets. Columns: `row` int64, `holdout`, `gold`,
`covered` bool, `votes` int32, `probabilities` list of float32 in the order of the spec's classes (gold rows: one-hot;
multi-label: independent of each other). Rows: every covered or gold training row and every gold holdout row, in order of row.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.common.errors import DigestMismatch
from services.common.objects.port import DATASETS, ObjectStore

COLUMNS = ("row", "holdout", "gold", "covered", "votes", "probabilities")
_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("holdout", pa.bool_(), nullable=False),
        pa.field("gold", pa.bool_(), nullable=False),
        pa.field("covered", pa.bool_(), nullable=False),
        pa.field("votes", pa.int32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLabelSet:
    """Where a label set lies. `digest` is `sha256:<hex>` of the object."""

    key: str
    digest: str
    rows: int
    size: int


def write_label_set(objects: ObjectStore, *, project: str, dataset: str, frame: pd.DataFrame) -> StoredLabelSet:
    """Stores a frame with the columns `COLUMNS`; `probabilities` holds one array or list per row. Same content, same digest."""
    ordered = frame.loc[:, list(COLUMNS)].sort_values("row", kind="stable")
    arrays = [pa.array(ordered[name].to_numpy(), _SCHEMA.field(name).type) for name in COLUMNS[:-1]]
    arrays.append(_probabilities(ordered))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), sink, compression="zstd", row_group_size=65_536)
    content = sink.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    key = f"{project}/{dataset}/labelsets/{digest}.parquet"
    objects.put(DATASETS, key, content)
    return StoredLabelSet(key=key, digest=f"sha256:{digest}", rows=len(ordered), size=len(content))


def read_label_set(objects: ObjectStore, key: str) -> pd.DataFrame:
    """The frame that was written; `probabilities` holds one float32 array per row. Raises `NotFound`, `DigestMismatch`."""
    content = objects.get(DATASETS, key)
    expected, actual = key.rsplit("/", 1)[-1].removesuffix(".parquet"), hashlib.sha256(content).hexdigest()
    if expected != actual:
        raise DigestMismatch(f"The label set '{key}'", expected=expected, actual=actual)
    table = pq.read_table(pa.BufferReader(content))
    frame = pd.DataFrame({name: table.column(name).to_numpy() for name in COLUMNS[:-1]})
    flat = table.column("probabilities").combine_chunks()
    values, offsets = flat.flatten().to_numpy(), np.cumsum(flat.value_lengths().to_numpy())
    frame["probabilities"] = pd.Series(np.split(values, offsets)[:-1], dtype=object) if len(frame) else pd.Series(dtype=object)
    return frame


def _probabilities(frame: pd.DataFrame) -> pa.ListArray:
    rows = [np.asarray(row, dtype=np.float32) for row in frame["probabilities"]]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    values = np.concatenate(rows) if rows else np.empty(0, dtype=np.float32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
