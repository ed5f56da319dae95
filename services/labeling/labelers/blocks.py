"""Vote blocks: a program's votes on one part of a data set as a Parquet object, named by its digest.

Columns: `row` int64, `class` int32 (index in the spec; -1: a complete answer without a class), `against`, `complete` bool.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.common.errors import DigestMismatch
from services.common.objects.port import DATASETS, ObjectStore
from services.labeling.labelers.storage import VoteBlock

_SCHEMA = pa.schema([("row", pa.int64()), ("class", pa.int32()), ("against", pa.bool_()), ("complete", pa.bool_())])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowVotes:
    """Votes on rows by number; arrays alike in length."""

    row: npt.NDArray[np.int64]
    cls: npt.NDArray[np.int32]
    against: npt.NDArray[np.bool_]
    complete: npt.NDArray[np.bool_]


def join(pieces: Sequence[RowVotes]) -> RowVotes:
    """Several as one."""
    return RowVotes(
        row=np.concatenate([np.empty(0, dtype=np.int64), *(p.row for p in pieces)]),
        cls=np.concatenate([np.empty(0, dtype=np.int32), *(p.cls for p in pieces)]),
        against=np.concatenate([np.empty(0, dtype=bool), *(p.against for p in pieces)]),
        complete=np.concatenate([np.empty(0, dtype=bool), *(p.complete for p in pieces)]),
    )


def write_block(objects: ObjectStore, root: str, labeler: str, part_digest: str, votes: RowVotes) -> VoteBlock:
    """Stores votes under the data set's root; equal votes are one object."""
    arrays = [pa.array(votes.row), pa.array(votes.cls), pa.array(votes.against), pa.array(votes.complete)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), sink, compression="zstd")
    content = sink.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    key = f"{root}/votes/{digest}.parquet"
    objects.put(DATASETS, key, content)
    return VoteBlock(
        labeler=labeler, part_digest=part_digest, object_key=key, digest=f"sha256:{digest}", votes=len(np.unique(votes.row))
    )


def read_block(objects: ObjectStore, block: VoteBlock) -> RowVotes:
    """Raises `NotFound`, `DigestMismatch`."""
    content = objects.get(DATASETS, block.object_key)
    actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if actual != block.digest:
        raise DigestMismatch(f"The votes of '{block.labeler}'", expected=block.digest, actual=actual)
    table = pq.read_table(pa.BufferReader(content))
    row, cls, against, complete = (table.column(name).to_numpy() for name in ("row", "class", "against", "complete"))
    return RowVotes(row=row, cls=cls, against=against, complete=complete)
