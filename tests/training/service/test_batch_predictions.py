"""Batch predictions through the whole service: real gRPC, real queue, a real scoring process, the real registry."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from training_world import DATASET, FLEETING, FOREIGN, HELD, LARGE, LARGE_ROWS, PROJECT, ROWS, VERSION, Client, World

from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import batch_predictions_pb2 as pb
from regrow.training.v1 import batch_predictions_pb2_grpc as rpc
from services.common.bundle import Bundle, Input, write_bundle
from services.common.bundle import Manifest as BundleManifest
from services.common.bundle.decision import Decision
from services.common.bundle.manifest import GRAPH, ReaderEntry
from services.common.bundle.table import Number
from services.common.bundle.table import Table as TableFit
from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidField,
    NotFound,
    RegrowError,
    RequestIdReused,
)
from services.common.frames.kinds import Column, Kind, Schema
from services.common.frames.parquet import Manifest, PartsWriter, load_version, write_manifest
from services.common.spec import ClassDefinition, InputColumn, ProblemSpec, Task, check
from services.training.batch_predictions import results, scoring
from services.training.batch_predictions.rules import Rows
from services.training.batch_predictions.scoring import ScoringTask, score
from services.training.data import column_of

ENDED = (pb.BATCH_PREDICTION_STATE_SUCCEEDED, pb.BATCH_PREDICTION_STATE_FAILED, pb.BATCH_PREDICTION_STATE_CANCELLED)
_numbers = itertools.count(1)


class Batches:
    """The stub, and what asks it."""

    def __init__(self, client: Client) -> None:
        self.stub: Any = rpc.BatchPredictionServiceStub(client.channel)

    def create(self, model: str, *, batch_id: str = "", request_id: str = "", version: str = VERSION, **fields: Any) -> Any:
        batch = pb.BatchPrediction(dataset_version=version, model=model, **fields)
        return self.stub.CreateBatchPrediction(
            pb.CreateBatchPredictionRequest(
                parent=PROJECT, batch_prediction_id=batch_id, batch_prediction=batch, request_id=request_id
            )
        )

    def get(self, name: str) -> Any:
        return self.stub.GetBatchPrediction(pb.GetBatchPredictionRequest(name=name))

    def finished(self, name: str, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while (batch := self.get(name)).state not in ENDED:
            assert time.monotonic() < deadline, "it doesn't end"
            time.sleep(0.05)
        return batch

    def download(self, name: str, file_format: int = pb.RESULT_FORMAT_PARQUET, *, link: bool = False) -> bytes:
        request = pb.DownloadBatchPredictionRequest(name=name, file_format=file_format, link=link)  # type: ignore[arg-type]
        return b"".join(part.data for part in self.stub.DownloadBatchPrediction(request))

    def cancel(self, name: str) -> Any:
        return self.stub.CancelBatchPrediction(pb.CancelBatchPredictionRequest(name=name))

    def table(self, name: str) -> Any:
        return pq.read_table(io.BytesIO(self.download(name)))


@pytest.fixture(scope="module")
def batches(client: Client) -> Batches:
    return Batches(client)


@pytest.fixture(scope="module")
def champion(world: World, trained: Any) -> str:
    """A model whose champion learned from `SEED`."""
    world.promote(trained.version)
    return str(trained.version.rpartition("/versions/")[0])


@pytest.fixture
def directly(world: World, trained: Any, tmp_path: Path) -> Callable[..., tuple[list[str], list[dict[str, Any]]]]:
    """Scores in this process: the notes and the events."""
    digest = world.versions.GetVersion(registry_pb2.GetVersionRequest(name=trained.version)).bundle_digest
    root = f"default/_batch_predictions/t{next(_numbers)}"

    def run(cancelled: Callable[[], bool] = lambda: False, **fields: Any) -> tuple[list[str], list[dict[str, Any]]]:
        events: list[dict[str, Any]] = []
        task = ScoringTask(
            **{
                "bundle_digest": digest, "manifest_key": world.labeling._version.key, "rows": Rows.ALL, "label_set_key": "",
                "root": root, **fields,
            }
        )  # fmt: skip
        task = ScoringTask.from_json(json.loads(json.dumps(task.to_json())))
        notes = score(task, world.objects, tmp_path / "cache", events.append, cancelled)
        return notes, events

    return run


@pytest.mark.slow
def test_every_row_is_scored_as_the_version_scores_it_and_comes_back_as_one_parquet_file(
    batches: Batches, champion: str, trained: Any, world: World, tmp_path: Path
) -> None:
    made = batches.finished(batches.create(champion, batch_id="whole").name)
    assert (made.state, made.problem) == (pb.BATCH_PREDICTION_STATE_SUCCEEDED, "")
    assert (made.version, made.dataset_version, made.row_count, made.rows_done) == (trained.version, VERSION, ROWS, ROWS)
    assert sum(one.rows for one in made.class_counts) == ROWS
    table = batches.table(made.name)
    assert table.column_names == ["row", "predicted", "probability_bad", "probability_good"]
    assert table.column("row").to_pylist() == list(range(ROWS))
    digest = world.versions.GetVersion(registry_pb2.GetVersionRequest(name=trained.version)).bundle_digest
    bundle = Bundle.open(world.objects, digest, tmp_path)
    frame = load_version(world.objects, world.labeling._version.key)
    expected = bundle.probabilities({"review": column_of(frame["review"], "text")}, ROWS)
    assert np.allclose(table.column("probability_good").to_numpy(), expected[:, 1], atol=1e-6)
    assert table.column("predicted").to_pylist() == [one[0] for one in bundle.decide(expected)]
    manifest = json.loads(world.objects.get("regrow-datasets", "default/_batch_predictions/whole/manifest.json"))
    assert sum(part["rows"] for part in manifest["parts"]) == ROWS


@pytest.mark.slow
def test_csv_says_the_same_and_only_held_out_rows_are_scored_where_those_are_asked_for(batches: Batches, champion: str) -> None:
    made = batches.finished(batches.create(f"{champion}/aliases/champion", row_filter=pb.ROW_FILTER_HOLDOUT).name)
    assert made.row_count == made.rows_done == HELD
    file = batches.download(made.name, pb.RESULT_FORMAT_CSV)
    assert batches.download(made.name, pb.RESULT_FORMAT_CSV, link=True) == file, "a folder has no address to link to"
    rows = list(csv.DictReader(io.StringIO(file.decode())))
    assert [int(row["row"]) for row in rows] == list(range(HELD))
    shares = batches.table(made.name).column("probability_good").to_pylist()
    assert [float(row["probability_good"]) for row in rows] == pytest.approx(shares, abs=1e-6)


@pytest.mark.slow
def test_unlabeled_rows_are_those_without_gold_in_the_label_set_that_the_version_learned_from(
    batches: Batches, trained: Any
) -> None:
    made = batches.finished(batches.create(trained.version, row_filter=pb.ROW_FILTER_UNLABELED).name)
    assert made.problem == ""
    rows = batches.table(made.name).column("row").to_pylist()
    assert rows == list(range(HELD, ROWS))
    assert made.row_count == made.rows_done == len(rows)


@pytest.mark.parametrize(("chosen", "expected"), [(Rows.HOLDOUT, range(HELD)), (Rows.UNLABELED, range(HELD, ROWS))])
def test_only_the_rows_that_are_asked_for_are_scored(
    directly: Any, world: World, trained: Any, chosen: Rows, expected: range
) -> None:
    receipt = world.versions.GetReceipt(registry_pb2.GetReceiptRequest(name=trained.version))
    labeled = world.labeling._label_sets[receipt.label_set][1].key if chosen is Rows.UNLABELED else ""
    _, events = directly(rows=chosen, label_set_key=labeled)
    assert events[0]["rows"] == len(expected)
    batches = results.read_chunks(world.objects, [event["key"] for event in events[1:]])
    assert [row for batch in batches for row in batch["row"].to_pylist()] == list(expected)


def test_a_request_id_makes_it_once_and_says_where_it_was_used_for_something_else(batches: Batches, champion: str) -> None:
    first = batches.create(champion, request_id="same")
    batches.cancel(first.name)
    assert batches.create(champion, request_id="same").name == first.name
    with pytest.raises(RequestIdReused):
        batches.create(champion, request_id="same", row_filter=pb.ROW_FILTER_HOLDOUT)
    with pytest.raises(AlreadyExists):
        batches.create(champion, batch_id=first.name.rpartition("/")[2])


def test_what_cant_be_scored_is_told_when_it_is_asked_for(batches: Batches, champion: str, world: World) -> None:
    bare = f"{PROJECT}/models/bare-{next(_numbers)}"
    world.models.CreateModel(registry_pb2.CreateModelRequest(parent=PROJECT, model_id=bare.rpartition("/")[2]))
    cases: list[tuple[type[RegrowError], dict[str, Any]]] = [
        (NotFound, {"model": f"{PROJECT}/models/nobody"}),
        (FailedPrecondition, {"model": bare}),
        (NotFound, {"model": f"{champion}/versions/99"}),
        (NotFound, {"model": f"{champion}/aliases/nothing"}),
        (InvalidField, {"model": f"{champion}/odd/9"}),
        (InvalidField, {"model": "projects/other/models/m"}),
        (NotFound, {"model": champion, "version": f"{DATASET}/versions/9"}),
        (InvalidField, {"model": champion, "version": DATASET}),
        (InvalidField, {"model": champion, "batch_id": "Not an id"}),
    ]
    for kind, asked in cases:
        with pytest.raises(kind):
            batches.create(**asked)


def test_a_data_set_with_no_column_of_the_model_is_refused_with_the_columns_that_it_reads(
    batches: Batches, champion: str, directly: Any, world: World, tmp_path: Path
) -> None:
    told = "batch_prediction.dataset_version: has none of the model's columns: review."
    with pytest.raises(InvalidField) as refused:
        batches.create(champion, version=FOREIGN)
    assert refused.value.message == told
    schema = Schema((Column(name="body", kind=Kind.TEXT),))
    parts = PartsWriter(world.objects, "default/foreign/1", schema, tmp_path).finish()
    stored = write_manifest(
        world.objects, "default/foreign/1", Manifest(schema=schema, parts=parts, row_count=0, holdout_count=0)
    )
    with pytest.raises(InvalidField) as failed:  # where the store was away when it was asked for
        directly(manifest_key=stored.key)
    assert failed.value.message == told


def test_those_of_a_project_are_listed_newest_first_page_by_page(batches: Batches, champion: str) -> None:
    made = [batches.create(champion).name for _ in range(3)]
    for name in made:
        batches.cancel(name)  # nobody waits for their results
    request = pb.ListBatchPredictionsRequest(parent=PROJECT, page_size=2)
    first = batches.stub.ListBatchPredictions(request)
    assert [one.name for one in first.batch_predictions] == [made[2], made[1]]
    request.page_token = first.next_page_token
    assert batches.stub.ListBatchPredictions(request).batch_predictions[0].name == made[0]
    request = pb.ListBatchPredictionsRequest(
        parent=PROJECT, filter=f'row_filter = all AND create_time > "2026-01-01" AND name = "{made[1]}"', order_by="create_time"
    )
    assert [one.name for one in batches.stub.ListBatchPredictions(request).batch_predictions] == [made[1]]


def test_one_that_is_cancelled_ends_and_has_no_result(batches: Batches, champion: str, world: World) -> None:
    made = batches.create(champion)
    world.labeling.gate.clear()  # its process doesn't start before it is cancelled
    try:
        batches.cancel(made.name)
    finally:
        world.labeling.gate.set()
    assert batches.finished(made.name).state == pb.BATCH_PREDICTION_STATE_CANCELLED
    with pytest.raises(FailedPrecondition, match="was cancelled"):
        batches.download(made.name)
    again = batches.cancel(made.name)
    assert again.state == pb.BATCH_PREDICTION_STATE_CANCELLED


@pytest.mark.slow
def test_one_that_is_cancelled_in_the_middle_ends_soon_and_keeps_what_was_scored(batches: Batches, champion: str) -> None:
    made = batches.create(champion, version=LARGE)
    deadline = time.monotonic() + 60
    while not (now := batches.get(made.name)).rows_done:
        assert now.state not in ENDED and time.monotonic() < deadline, now
        time.sleep(0.02)
    batches.cancel(made.name)
    ended = batches.finished(made.name)
    assert (ended.state, ended.problem) == (pb.BATCH_PREDICTION_STATE_CANCELLED, "")
    assert 0 < ended.rows_done < ended.row_count == LARGE_ROWS
    with pytest.raises(FailedPrecondition, match="was cancelled"):
        batches.download(made.name)


@pytest.mark.slow
def test_one_whose_data_set_is_deleted_before_it_starts_fails_with_what_is_missing(batches: Batches, champion: str) -> None:
    ended = batches.finished(batches.create(champion, version=FLEETING).name)
    assert ended.state == pb.BATCH_PREDICTION_STATE_FAILED
    assert FLEETING in ended.problem and "There is no data set version" in ended.problem
    with pytest.raises(FailedPrecondition, match="failed"):
        batches.download(ended.name)


def test_a_data_set_without_rows_has_a_result_without_rows(directly: Any, world: World, trained: Any, tmp_path: Path) -> None:
    schema = Schema((Column(name="review", kind=Kind.TEXT),))
    parts = PartsWriter(world.objects, "default/empty/1", schema, tmp_path).finish()
    stored = write_manifest(
        world.objects, "default/empty/1", Manifest(schema=schema, parts=parts, row_count=0, holdout_count=0)
    )
    notes, events = directly(manifest_key=stored.key)
    assert (notes, events) == ([], [{"type": "plan", "rows": 0}])
    digest = world.versions.GetVersion(registry_pb2.GetVersionRequest(name=trained.version)).bundle_digest
    spec = Bundle.open(world.objects, digest, tmp_path / "cache").spec
    table = pq.read_table(io.BytesIO(b"".join(results.as_parquet(spec, []))))
    assert (table.num_rows, table.column_names) == (0, ["row", "predicted", "probability_bad", "probability_good"])
    assert b"".join(results.as_csv(spec, [])) == b"row,predicted,probability_bad,probability_good\n"


def test_chunks_that_are_finished_are_never_scored_again_whoever_knows_of_them(
    directly: Any, world: World, monkeypatch
) -> None:
    monkeypatch.setattr(scoring, "_MOST_CHUNK_ROWS", 64)
    monkeypatch.setattr(scoring, "_BATCH_ROWS", 40)
    computed: list[int] = []
    probabilities = Bundle.probabilities

    def note(self: Bundle, columns: Any, rows: int, *rest: Any) -> Any:
        computed.append(rows)
        return probabilities(self, columns, rows, *rest)

    monkeypatch.setattr(Bundle, "probabilities", note)
    calls = itertools.count()
    with pytest.raises(RegrowError, match="cancelled"):
        directly(cancelled=lambda: next(calls) >= 5)
    before = sum(computed)
    computed.clear()
    _, events = directly(done=(0,))
    chunks = {event["number"]: event for event in events if event["type"] == "chunk"}
    assert events[0] == {"type": "plan", "rows": ROWS}
    assert sorted(chunks) == [1, 2, 3, 4]
    assert sum(chunk["rows"] for chunk in chunks.values()) == ROWS - 64
    assert before >= 128 and sum(computed) == ROWS - 128, "chunks 0 and 1 were finished before"
    _, again = directly()
    assert {e["number"]: e for e in again[1:]} == {0: again[1], **chunks}
    rows = [
        row for batch in results.read_chunks(world.objects, [e["key"] for e in again[1:]]) for row in batch["row"].to_pylist()
    ]
    assert rows == list(range(ROWS))


def test_a_column_that_is_gone_and_one_of_another_kind_are_told_and_taken_as_unknown(world: World, tmp_path: Path) -> None:
    table = TableFit(numbers=(Number(name="age", center=40.0, scale=0.1), Number(name="size", center=1.0, scale=1.0)))
    spec = check(
        ProblemSpec(
            name=f"{PROJECT}/problemSpecs/s", dataset=DATASET, task=Task.SINGLE_LABEL,
            classes=(ClassDefinition(name="=no"), ClassDefinition(name="yes")),
            inputs=tuple(InputColumn(name=name, kind="numeric") for name in ("age", "size")),
        )
    )  # fmt: skip
    manifest = BundleManifest(
        spec=spec, inputs=tuple(Input(name=name, kind="numeric") for name in ("age", "size")),
        readers=(ReaderEntry(modality="table", kind="table", columns=("age", "size"), parts=("table.json",)),),
        heads=("table",), decision=Decision(weights=(1.0,)), design={},
    )  # fmt: skip
    graph = linear_graph(np.array([[0.0, 1.0], [0.0, 0.0]], dtype=np.float32))
    digest = write_bundle(world.objects, {GRAPH: graph, "table.json": table.to_json()}, manifest)
    schema = Schema((Column(name="age", kind=Kind.TEXT),))
    writer = PartsWriter(world.objects, "default/odd/1", schema, tmp_path)
    writer.write([pa.array(["41", "many", None])], np.zeros(3, bool))
    stored = write_manifest(
        world.objects, "default/odd/1", Manifest(schema=schema, parts=writer.finish(), row_count=3, holdout_count=0)
    )
    task = ScoringTask(
        bundle_digest=digest, manifest_key=stored.key, rows=Rows.ALL, label_set_key="", root="default/_batch_predictions/odd"
    )
    events: list[dict[str, Any]] = []
    notes = score(task, world.objects, tmp_path / "cache", events.append, lambda: False)
    assert len(notes) == 1 and "no column 'size'" in notes[0]
    assert events[1]["unread"] == {"age": 1}
    text = b"".join(results.as_csv(spec, results.read_chunks(world.objects, [events[1]["key"]]))).decode().splitlines()
    assert text[0] == "row,predicted,probability_=no,probability_yes"
    assert [line.split(",")[1] for line in text[1:]] == ["yes", "'=no", "'=no"]


def linear_graph(weights: np.ndarray) -> bytes:
    """`(rows, numbers)` to `(rows, 1, classes)` logits."""
    nodes = [
        helper.make_node("MatMul", ["table", "w"], ["z"]),
        helper.make_node("Unsqueeze", ["z", "one"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("table", TensorProto.FLOAT, ["n", weights.shape[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.slow
def test_scoring_needs_no_torch() -> None:
    code = "import sys, services.training.batch_predictions.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
