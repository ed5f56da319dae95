"""The tables of data sets and their versions, and every query on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.database import new_etag, now
from services.common.errors import NotFound
from services.common.frames.holdout import HoldoutRule
from services.common.frames.kinds import Column, Kind, Schema
from services.common.listing import Asked, Collection, Sort, number, text, time
from services.labeling.datasets.model import Dataset, Origin, Version
from services.labeling.request_ids import IdempotencyKey
from services.labeling.tables import LabelingTable


class DatasetRow(LabelingTable):
    """One data set. `latest` is the number of its newest version."""

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200), unique=True)
    project: Mapped[str] = mapped_column(sa.String(80), index=True)
    root: Mapped[str] = mapped_column(sa.String(200))
    description: Mapped[str] = mapped_column(sa.Text)
    holdout: Mapped[str] = mapped_column(sa.Text)
    latest: Mapped[int]
    etag: Mapped[str] = mapped_column(sa.String(32))
    created: Mapped[datetime] = mapped_column(default=now)


class VersionRow(LabelingTable):
    """One version of a data set; never changed."""

    __tablename__ = "dataset_versions"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    row_count: Mapped[int] = mapped_column(sa.BigInteger)
    holdout_count: Mapped[int] = mapped_column(sa.BigInteger)
    columns: Mapped[str] = mapped_column(sa.Text)
    digest: Mapped[str] = mapped_column(sa.String(80))
    object_key: Mapped[str] = mapped_column(sa.String(400))
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    origin: Mapped[str] = mapped_column(sa.String(12))
    notes: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(default=now)


DATASETS = Collection(
    {
        "name": text(DatasetRow.name), "description": text(DatasetRow.description), "create_time": time(DatasetRow.created),
        "latest_version.row_count": number(VersionRow.row_count), "latest_version.size_bytes": number(VersionRow.size_bytes),
    },
    key=[Sort(name="id", column=DatasetRow.id, descending=True)],
)  # fmt: skip
VERSIONS = Collection(
    {
        "origin": text(VersionRow.origin), "row_count": number(VersionRow.row_count),
        "holdout_count": number(VersionRow.holdout_count), "size_bytes": number(VersionRow.size_bytes),
        "digest": text(VersionRow.digest), "create_time": time(VersionRow.created),
    },
    key=[Sort(name="number", column=VersionRow.number, descending=True)],
)  # fmt: skip


def add_dataset(session: Session, dataset: Dataset) -> None:
    """Adds a data set with its first version."""
    project = dataset.name.split("/datasets/")[0]
    row = DatasetRow(
        name=dataset.name, project=project, root=dataset.root, description=dataset.description,
        holdout=json.dumps(asdict(dataset.holdout)), latest=dataset.latest.number, etag=dataset.etag, created=dataset.created,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(_version_row(row.id, dataset.latest))


def add_version(session: Session, version: Version) -> None:
    """Adds the next version of a data set that the caller has read in this transaction, and gives it a new etag."""
    row = session.scalars(sa.select(DatasetRow).where(DatasetRow.name == version.dataset)).one()
    row.latest, row.etag = version.number, new_etag()
    session.add(_version_row(row.id, version))


def exists(session: Session, name: str) -> bool:
    """Whether there is a data set of that name."""
    return session.scalar(sa.select(DatasetRow.id).where(DatasetRow.name == name)) is not None


def get_dataset(session: Session, name: str) -> Dataset:
    """The data set with its newest version. Raises `NotFound`."""
    found = session.execute(_query().where(DatasetRow.name == name)).one_or_none()
    if found is None:
        raise NotFound("dataset", name)
    return _dataset(*found)


def lock_dataset(session: Session, name: str) -> Dataset:
    """As `get_dataset`; until the transaction ends nobody else can add a version. Raises `NotFound`."""
    session.execute(sa.select(DatasetRow.id).where(DatasetRow.name == name).with_for_update())
    return get_dataset(session, name)


def list_datasets(session: Session, project: str, ask: Asked) -> tuple[list[Dataset], str]:
    """A page, newest first, and the token of the next."""
    found, token = DATASETS.page(session, _query().where(DatasetRow.project == project), ask, scope=project)
    return [_dataset(row, version) for row, version in found], token


def get_version(session: Session, dataset: str, number: int | None) -> Version:
    """One version; None is the newest. Raises `NotFound`."""
    right = VersionRow.number == (DatasetRow.latest if number is None else number)
    found = session.scalars(sa.select(VersionRow).join(DatasetRow).where(DatasetRow.name == dataset, right)).one_or_none()
    if found is None and not exists(session, dataset):
        raise NotFound("dataset", dataset)
    if found is None:
        raise NotFound("dataset version", f"{dataset}/versions/{number}")
    return _version(dataset, found)


def list_versions(session: Session, dataset: str, ask: Asked) -> tuple[list[Version], str]:
    """A page, newest first, and the token of the next. Raises `NotFound` where the data set doesn't exist."""
    if not exists(session, dataset):
        raise NotFound("dataset", dataset)
    query = sa.select(VersionRow).join(DatasetRow).where(DatasetRow.name == dataset)
    rows, token = VERSIONS.page(session, query, ask, scope=dataset)
    return [_version(dataset, row) for row in rows], token


def remove_dataset(session: Session, name: str) -> None:
    """Removes a data set, its versions, and the memory of the calls that made them."""
    mine = (IdempotencyKey.result == name) | IdempotencyKey.result.startswith(f"{name}/", autoescape=True)
    session.execute(sa.delete(IdempotencyKey).where(mine))
    session.execute(sa.delete(DatasetRow).where(DatasetRow.name == name))


def _query() -> sa.Select[DatasetRow, VersionRow]:
    """Data sets, each with its newest version."""
    newest = (VersionRow.dataset_id == DatasetRow.id) & (VersionRow.number == DatasetRow.latest)
    return sa.select(DatasetRow, VersionRow).join(VersionRow, newest)


def _dataset(row: DatasetRow, version: VersionRow) -> Dataset:
    return Dataset(
        name=row.name, root=row.root, description=row.description, etag=row.etag, created=row.created,
        holdout=_rule(json.loads(row.holdout)), latest=_version(row.name, version),
    )  # fmt: skip


def _rule(stored: dict[str, object]) -> HoldoutRule:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return HoldoutRule(**fields)  # type: ignore[arg-type]


def _version_row(dataset_id: int, version: Version) -> VersionRow:
    return VersionRow(
        dataset_id=dataset_id, number=version.number, row_count=version.row_count, holdout_count=version.holdout_count,
        columns=_columns_json(version.schema), digest=version.digest, object_key=version.object_key,
        size_bytes=version.size_bytes, origin=version.origin.value, notes=json.dumps(version.notes), created=version.created,
    )  # fmt: skip


def _version(dataset: str, row: VersionRow) -> Version:
    columns: Sequence[dict[str, str]] = json.loads(row.columns)
    return Version(
        dataset=dataset, number=row.number, row_count=row.row_count, holdout_count=row.holdout_count,
        schema=Schema(tuple(Column(**{**c, "kind": Kind(c["kind"])}) for c in columns)),  # type: ignore[arg-type]
        digest=row.digest, object_key=row.object_key, size_bytes=row.size_bytes, created=row.created,
        origin=Origin(row.origin), notes=tuple(json.loads(row.notes)),
    )  # fmt: skip


def _columns_json(schema: Schema) -> str:
    return json.dumps([asdict(column) for column in schema])
