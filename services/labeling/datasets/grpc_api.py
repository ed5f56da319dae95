"""The gRPC edge of data sets: requests to use cases, nouns to messages, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.labeling.v1 import datasets_pb2 as pb
from regrow.labeling.v1 import datasets_pb2_grpc as rpc
from regrow.types.v1 import schema_pb2 as types
from services.common.errors import InvalidField
from services.common.frames.export import CONTENT_TYPES
from services.common.frames.holdout import DEFAULT_SHARE, HoldoutRule
from services.common.frames.importing import Wish
from services.common.frames.kinds import HOLDOUT, ROW, Kind, Schema
from services.common.frames.profile import ColumnProfile
from services.common.frames.sniffing import Format
from services.common.idempotency import fingerprint
from services.common.listing import asked
from services.common.objects.port import LINK_TYPE
from services.common.paging import encode_token, page
from services.common.structs import plain_struct
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.intake import ImportOrder
from services.labeling.datasets.model import Dataset, Version
from services.labeling.datasets.rows import values_of

SERVICE = "regrow.labeling.v1.DatasetService"

_FORMATS = {
    pb.FILE_FORMAT_CSV: Format.CSV,
    pb.FILE_FORMAT_TSV: Format.TSV,
    pb.FILE_FORMAT_JSONL: Format.JSONL,
    pb.FILE_FORMAT_PARQUET: Format.PARQUET,
}
_KINDS = {
    types.COLUMN_KIND_TEXT: Kind.TEXT,
    types.COLUMN_KIND_CATEGORICAL: Kind.CATEGORICAL,
    types.COLUMN_KIND_NUMERIC: Kind.NUMERIC,
    types.COLUMN_KIND_BOOLEAN: Kind.BOOLEAN,
    types.COLUMN_KIND_DATETIME: Kind.DATETIME,
    types.COLUMN_KIND_ID: Kind.ID,
}
_KINDS_OUT = {kind: number for number, kind in _KINDS.items()}
_Context = grpc.ServicerContext


class DatasetServicer(rpc.DatasetServiceServicer):
    """regrow.labeling.v1.DatasetService."""

    def __init__(self, datasets: Datasets, *, most_import_bytes: int) -> None:
        self._datasets = datasets
        self._most_import_bytes = most_import_bytes

    def ImportDataset(self, request_iterator: Iterator[pb.ImportDatasetRequest], context: _Context) -> pb.Dataset:
        """See the proto."""
        first = next(request_iterator, None)
        if first is None:
            raise InvalidField("parent", "the stream is empty: its first message says what is imported.")
        order = _order(first, self._most_import_bytes)
        return _dataset(self._datasets.import_file(order, _contents(first, request_iterator), wanted=context.is_active))

    def GetDataset(self, request: pb.GetDatasetRequest, context: _Context) -> pb.Dataset:
        """See the proto."""
        return _dataset(self._datasets.get(request.name))

    def ListDatasets(self, request: pb.ListDatasetsRequest, context: _Context) -> pb.ListDatasetsResponse:
        """See the proto."""
        found, token = self._datasets.list_datasets(request.parent, asked(request))
        return pb.ListDatasetsResponse(datasets=map(_dataset, found), next_page_token=token)

    def DeleteDataset(self, request: pb.DeleteDatasetRequest, context: _Context) -> pb.DeleteDatasetResponse:
        """See the proto."""
        self._datasets.delete(request.name, force=request.force, etag=request.etag)
        return pb.DeleteDatasetResponse()

    def GetDatasetVersion(self, request: pb.GetDatasetVersionRequest, context: _Context) -> pb.DatasetVersion:
        """See the proto."""
        return version_message(self._datasets.version(request.name))

    def ListDatasetVersions(self, request: pb.ListDatasetVersionsRequest, context: _Context) -> pb.ListDatasetVersionsResponse:
        """See the proto."""
        found, token = self._datasets.list_versions(request.parent, asked(request))
        return pb.ListDatasetVersionsResponse(versions=map(version_message, found), next_page_token=token)

    def UpdateSchema(self, request: pb.UpdateSchemaRequest, context: _Context) -> pb.DatasetVersion:
        """See the proto."""
        kinds = _kinds(request.columns, "columns")
        if not kinds:
            raise InvalidField("columns", "is empty. Name at least one column and its new kind.")
        return version_message(self._datasets.update_schema(request.name, kinds, etag=request.etag))

    def AppendRows(self, request: pb.AppendRowsRequest, context: _Context) -> pb.DatasetVersion:
        """See the proto."""
        rows = [plain_struct(row) for row in request.rows]
        version = self._datasets.append_rows(
            request.name, rows, request_id=request.request_id, fingerprint=fingerprint(request)
        )
        return version_message(version)

    def GetProfile(self, request: pb.GetProfileRequest, context: _Context) -> pb.Profile:
        """See the proto."""
        version, profile = self._datasets.profile(request.name)
        return pb.Profile(
            name=version.name, row_count=profile.row_count, holdout_count=profile.holdout_count,
            columns=map(_column_profile, profile.columns), duplicate_rows=profile.duplicate_rows,
        )  # fmt: skip

    def ListRows(self, request: pb.ListRowsRequest, context: _Context) -> pb.ListRowsResponse:
        """See the proto."""
        wanted = page(request.page_size, request.page_token, query=request.parent)
        version, table, more = self._datasets.list_rows(request.parent, wanted)
        answer = pb.ListRowsResponse(next_page_token=encode_token(more, query=request.parent) if more else "")
        for batch in table.to_batches():
            marks = zip(batch.column(ROW).to_pylist(), batch.column(HOLDOUT).to_pylist(), strict=True)
            for (number, held_out), values in zip(marks, values_of(batch, version.schema), strict=True):
                row = answer.rows.add(name=version.row_name(number), number=number, holdout=held_out)
                row.values.update(values)
        return answer

    def ExportDataset(self, request: pb.ExportDatasetRequest, context: _Context) -> Iterator[HttpBody]:
        """See the proto."""
        file_format = _FORMATS.get(request.format, Format.CSV)
        if request.link and (link := self._datasets.export_link(request.name, file_format)) is not None:
            yield HttpBody(content_type=LINK_TYPE, data=f"{link}\r\n".encode())
            return
        for chunk in self._datasets.export(request.name, file_format):
            yield HttpBody(content_type=CONTENT_TYPES[file_format], data=chunk)


def _contents(first: pb.ImportDatasetRequest, rest: Iterable[pb.ImportDatasetRequest]) -> Iterator[bytes]:
    yield first.content
    for message in rest:
        yield message.content


def _order(first: pb.ImportDatasetRequest, most_bytes: int) -> ImportOrder:
    described = pb.ImportDatasetRequest()
    described.CopyFrom(first)
    for volatile in ("content", "content_sha256"):
        described.ClearField(volatile)
    return ImportOrder(
        parent=first.parent, dataset_id=first.dataset_id, description=first.description,
        content_sha256=first.content_sha256, request_id=first.request_id, fingerprint=fingerprint(described),
        wish=Wish(
            format=_FORMATS.get(first.format), file_name=first.file_name,
            kinds=_kinds(first.column_overrides, "column_overrides"), holdout=_rule(first.holdout), most_bytes=most_bytes,
        ),
    )  # fmt: skip


def _kinds(columns: Iterable[types.Column], field: str) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for index, column in enumerate(columns):
        if column.kind not in _KINDS:
            raise InvalidField(f"{field}[{index}].kind", f"say which kind '{column.name[:60]}' shall have.")
        if column.name in kinds:
            raise InvalidField(f"{field}[{index}].name", f"'{column.name[:60]}' is named twice.")
        kinds[column.name] = _KINDS[column.kind]
    return kinds


def _rule(holdout: pb.Holdout) -> HoldoutRule:
    return HoldoutRule(
        split_column=holdout.split_column, split_values=tuple(holdout.split_values), share=holdout.share or DEFAULT_SHARE,
        salt=holdout.salt, ignored_columns=tuple(holdout.ignored_columns),
    )  # fmt: skip


def _dataset(dataset: Dataset) -> pb.Dataset:
    rule = dataset.holdout
    return pb.Dataset(
        name=dataset.name, latest_version=version_message(dataset.latest), description=dataset.description,
        create_time=_time(dataset.created), etag=dataset.etag,
        holdout=pb.Holdout(
            split_column=rule.split_column, split_values=rule.split_values, share=rule.share, salt=rule.salt,
            ignored_columns=rule.ignored_columns,
        ),
    )  # fmt: skip


def version_message(version: Version) -> pb.DatasetVersion:
    """A version as it goes over the wire."""
    return pb.DatasetVersion(
        name=version.name, row_count=version.row_count, holdout_count=version.holdout_count,
        schema=schema_message(version.schema), digest=version.digest, object_key=version.object_key,
        size_bytes=version.size_bytes, create_time=_time(version.created), origin=version.origin.value, notes=version.notes,
    )  # fmt: skip


def schema_message(schema: Schema) -> types.Schema:
    """A schema as it goes over the wire."""
    return types.Schema(columns=[
        types.Column(name=c.name, kind=_KINDS_OUT[c.kind], inferred_because=c.inferred_because) for c in schema
    ])  # fmt: skip


def _column_profile(column: ColumnProfile) -> types.ColumnProfile:
    return types.ColumnProfile(
        column=column.column, kind=_KINDS_OUT[column.kind], present=column.present, missing=column.missing,
        distinct=column.distinct, top_values=[types.ValueCount(value=v, count=c) for v, c in column.top_values],
        minimum=column.minimum, maximum=column.maximum, mean=column.mean, standard_deviation=column.standard_deviation,
        mean_length=column.mean_length, warnings=column.warnings,
    )  # fmt: skip


def _time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
