"""The use cases of batch predictions: submit, read, cancel, download. One is in the database before it is in the queue."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass

from services.common.bundle import Manifest
from services.common.bundle.parts import read_verified
from services.common.database import Database
from services.common.errors import AlreadyExists, FailedPrecondition, InvalidField, NotFound, Unavailable
from services.common.idempotency import recall, remember
from services.common.listing import Asked
from services.common.names import check_id, parse
from services.common.objects.port import DATASETS, LINK_LIFE, ObjectStore
from services.training.batch_predictions import results, storage
from services.training.batch_predictions.rules import BATCH_PREDICTION, DATASET_VERSION, Batch, NewBatch, Rows, check_columns
from services.training.peers import Labeling, Registry
from services.training.runs.rules import MODEL, State
from services.training.tables import IdempotencyKey

_CHAMPION = "champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asks for. `batch_id` empty: one is made. `fingerprint`: whether a repeated request_id asks the same."""

    parent: str
    batch_id: str
    dataset_version: str
    model: str
    rows: Rows
    request_id: str = ""
    fingerprint: str = ""


class BatchPredictions:
    """Batch predictions of this service. Safe for many threads. `submit` puts one in the durable queue, once per name."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        labeling: Labeling,
        registry: Registry,
        submit: Callable[[str], object],
    ) -> None:
        self._database, self._objects = database, objects
        self._labeling, self._registry, self._submit = labeling, registry, submit

    def create(self, asked: Order) -> Batch:
        """Settles what is scored with what, keeps it, queues it.

        Raises `NotFound`, `InvalidField`, `AlreadyExists`, `RequestIdReused`, `FailedPrecondition`.
        """
        batch = self._earlier(asked) or self._kept(asked)
        if not batch.state.ended:
            self._submit(batch.name)
        return batch

    def get(self, name: str) -> Batch:
        """Raises `NotFound`."""
        parse(BATCH_PREDICTION, name)
        with self._database.reading() as session:
            return storage.get_batch(session, name)

    def list_batches(self, parent: str, ask: Asked) -> tuple[list[Batch], str]:
        """A page, newest first, and the token of the next. Raises `InvalidField`."""
        project = parse("projects/{project}", parent, "parent")["project"]
        with self._database.reading() as session:
            return storage.newest(session, project, ask)

    def cancel(self, name: str) -> Batch:
        """A queued one ends at once, a running one within seconds, an ended one stays as it is. Raises `NotFound`."""
        parse(BATCH_PREDICTION, name)
        with self._database.session() as session:
            return storage.ask_to_cancel(session, name)

    def download(self, name: str, *, as_csv: bool) -> Iterator[bytes]:
        """The result as one file. Raises `NotFound`; `FailedPrecondition` where it didn't end well."""
        batch = self.get(name)
        if batch.state is not State.SUCCEEDED:
            raise FailedPrecondition(_not_there(batch), reason="NO_RESULT", state=str(batch.state))
        spec = self._manifest(batch.version).spec
        with self._database.reading() as session:
            keys = [chunk.key for chunk in storage.chunks(session, name)]
        batches = results.read_chunks(self._objects, keys)
        return results.as_csv(spec, batches) if as_csv else results.as_parquet(spec, batches)

    def download_link(self, name: str, *, as_csv: bool) -> str | None:
        """A link to that file, made once; None where the store has no address for callers. Raises as `download` does."""
        content, ending, root = self.download(name, as_csv=as_csv), "csv" if as_csv else "parquet", results.root_of(name)
        if self._objects.presigned(DATASETS, results.manifest_key(root), expires=LINK_LIFE, file_name="") is None:
            return None
        key = f"{root}/result.{ending}"
        if not self._objects.exists(DATASETS, key):
            with suppress(AlreadyExists):  # another call was faster; its file is the same
                self._objects.put(DATASETS, key, content, if_absent=True)
        file_name = f"{name.rpartition('/')[2]}.{ending}"
        return self._objects.presigned(DATASETS, key, expires=LINK_LIFE, file_name=file_name)

    def _earlier(self, asked: Order) -> Batch | None:
        """That of an earlier call with this request_id. It may not be queued yet: that call may have died in between."""
        with self._database.session() as session:
            name = recall(session, IdempotencyKey, **_once(asked))
            return storage.get_batch(session, name) if name else None

    def _kept(self, asked: Order) -> Batch:
        new = self._settled(asked)
        with self._database.session() as session:
            if name := recall(session, IdempotencyKey, **_once(asked)):
                return storage.get_batch(session, name)
            batch = storage.add_batch(session, new)
            remember(session, IdempotencyKey, **_once(asked), result=batch.name)
            return batch

    def _settled(self, asked: Order) -> NewBatch:
        project = parse("projects/{project}", asked.parent, "parent")["project"]
        named = parse(DATASET_VERSION, asked.dataset_version, "batch_prediction.dataset_version")
        model = "/".join(asked.model.split("/")[:4])
        for field, found in (
            ("dataset_version", named["project"]),
            ("model", parse(MODEL, model, "batch_prediction.model")["project"]),
        ):
            if found != project:
                raise InvalidField(f"batch_prediction.{field}", f"is of another project than '{asked.parent}'.")
        batch_id = check_id(asked.batch_id, "batch_prediction_id") if asked.batch_id else _new_id()
        data = self._labeling.dataset_version(asked.dataset_version)
        version = self._version(asked.model, model)
        self._check_columns(version, {column.name for column in data.schema.columns})
        return NewBatch(
            name=f"{asked.parent}/batchPredictions/{batch_id}", project=project, dataset_version=data.name,
            model=asked.model, version=version, rows=asked.rows,
            label_set=self._label_set(version, data.name) if asked.rows is Rows.UNLABELED else "",
        )  # fmt: skip

    def _version(self, name: str, model: str) -> str:
        """The version that a name means now."""
        kind, _, rest = name[len(model) + 1 :].partition("/")
        if kind == "versions":
            return self._registry.version(name).name
        if kind not in ("", "aliases") or (kind and not rest):
            raise InvalidField(
                "batch_prediction.model", f"'{name[:80]}' is no model; it may end with '/versions/3' or '/aliases/champion'."
            )
        try:
            return self._registry.alias(name if kind else f"{model}/aliases/{_CHAMPION}").version
        except NotFound:
            self._registry.model(model)
            if kind:
                raise
            raise FailedPrecondition(
                f"'{model}' has no champion yet. Set the alias '{_CHAMPION}' to a version, or name the version.",
                reason="NO_CHAMPION",
            ) from None

    def _check_columns(self, version: str, columns: Container[str]) -> None:
        """While the store of objects is away, nobody knows the model's: scoring checks them, too."""
        with suppress(Unavailable):
            check_columns(self._manifest(version).inputs, columns)

    def _manifest(self, version: str) -> Manifest:
        digest = self._registry.version(version).bundle_digest
        return Manifest.from_json(read_verified(self._objects, digest, "The bundle's manifest"))

    def _label_set(self, version: str, dataset_version: str) -> str:
        label_set = self._registry.version(version).receipt.label_set
        dataset = dataset_version.rpartition("/versions/")[0]
        if not label_set:
            raise InvalidField("batch_prediction.row_filter", f"'{version}' names no label set: what is labeled isn't known.")
        if not label_set.startswith(f"{dataset}/"):
            raise InvalidField(
                "batch_prediction.row_filter", f"'{version}' learned from '{label_set}', which says nothing of '{dataset}'."
            )
        return label_set


def _new_id() -> str:
    return f"b-{int(time.time()):x}-{secrets.token_hex(3)}"


def _not_there(batch: Batch) -> str:
    if not batch.state.ended:
        return f"'{batch.name}' isn't finished: {batch.rows_done:,} of {batch.row_count:,} rows are. Come back when it is."
    return f"'{batch.name}' has no result: it {'was cancelled' if batch.state is State.CANCELLED else 'failed'}. Make another."


def _once(asked: Order) -> dict[str, str]:
    return {"scope": f"{asked.parent}/batchPredictions", "request_id": asked.request_id, "fingerprint": asked.fingerprint}
