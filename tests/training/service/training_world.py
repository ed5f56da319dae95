"""What training stands among in these tests: the real registry, real stores, and labeling as a few calls over a real data set.

The data: reviews that say clearly whether they are good. Two label sets of them exist: `seed`, a few rows with labels that are
mostly wrong, and `full`, all rows labeled right, which is what a cut answers (or `again`, which teaches nothing new). The rows
of `lost` don't exist: a run on it ends as soon as it asks for them.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pyarrow as pa

from regrow.events.v1 import events_pb2
from regrow.labeling.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    feedback_ledger_pb2,
    feedback_ledger_pb2_grpc,
    label_sets_pb2,
    label_sets_pb2_grpc,
    problem_specs_pb2_grpc,
)
from regrow.registry.v1 import registry_pb2, registry_pb2_grpc
from regrow.training.v1 import designs_pb2_grpc, policies_pb2_grpc, runs_pb2, runs_pb2_grpc
from regrow.types.v1 import problem_spec_pb2, schema_pb2
from services.common.errors import FailedPrecondition, NotFound
from services.common.events.port import FEEDBACK, Event, EventLog
from services.common.frames.kinds import Column, Kind, Schema
from services.common.frames.label_sets import StoredLabelSet, write_label_set
from services.common.frames.parquet import Manifest, PartsWriter, StoredManifest, write_manifest
from services.common.objects import DirectoryStore
from services.common.rpc.client import internal_channel
from services.common.rpc.principal import Principal
from services.common.rpc.server import RunningServer, serve
from services.registry.app import start as start_registry
from services.registry.settings import RegistrySettings

TOKEN = "token-of-this-test"
PROJECT = "projects/default"
DATASET = f"{PROJECT}/datasets/reviews"
VERSION = f"{DATASET}/versions/1"
LARGE, LARGE_ROWS = f"{DATASET}/versions/2", 100_000
"""The same reviews again and again: long enough to be killed in the middle of."""
FLEETING = f"{DATASET}/versions/3"
"""It is there when it is first asked for, and deleted then."""
FOREIGN = f"{DATASET}/versions/4"
"""Its only column is none of any model."""
SPEC = f"{PROJECT}/problemSpecs/tone"
SEED, FULL, AGAIN, LOST = (f"{DATASET}/labelSets/{name}" for name in ("seed", "full", "again", "lost"))
ADA = Principal(key_id="key-1", role="editor", projects=("default",), name="Ada")
ROWS, HELD = 300, 100
_GOOD = ("lovely", "great", "perfect", "soft", "flattering")
_BAD = ("awful", "cheap", "itchy", "ripped", "returned")
_PLAIN = ("dress", "shirt", "the", "a", "with", "sleeve", "colour", "size", "ordered", "wore")


class Labeling(
    datasets_pb2_grpc.DatasetServiceServicer,
    label_sets_pb2_grpc.LabelSetServiceServicer,
    problem_specs_pb2_grpc.ProblemSpecServiceServicer,
    feedback_ledger_pb2_grpc.RegrowthServiceServicer,
):
    """As much of labeling as training asks for. `cut` decides what a cut answers."""

    def __init__(self, objects: DirectoryStore, scratch: Path) -> None:
        self._version = _reviews(objects, scratch)
        self._large = functools.cache(lambda: _reviews(objects, scratch, times=LARGE_ROWS // ROWS + 1, most=LARGE_ROWS))
        self._label_sets = {name: (SPEC, stored) for name, stored in _label_sets(objects).items()}
        self.cut: Callable[[feedback_ledger_pb2.CutLabelSetRequest], str] = lambda _: FULL
        self.cuts: list[feedback_ledger_pb2.CutLabelSetRequest] = []
        self._fled = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def GetDatasetVersion(self, request: Any, context: grpc.ServicerContext) -> datasets_pb2.DatasetVersion:
        self.gate.wait(60)
        if request.name == LARGE:
            stored = self._large()
            return _version(LARGE, stored)
        if request.name == FLEETING and not self._fled.is_set():
            self._fled.set()
            return _version(FLEETING, self._version)
        if request.name == FOREIGN:
            return _version(FOREIGN, self._version, column="body")
        if request.name != VERSION:
            raise NotFound("data set version", request.name)
        return _version(VERSION, self._version)

    def GetLabelSet(self, request: Any, context: grpc.ServicerContext) -> label_sets_pb2.LabelSet:
        if request.name not in self._label_sets:
            raise NotFound("label set", request.name)
        spec, stored = self._label_sets[request.name]
        return label_sets_pb2.LabelSet(
            name=request.name, problem_spec=spec, object_key=stored.key, digest=stored.digest,
            dataset_version=f"{DATASET}/versions/9" if request.name == LOST else VERSION,
            labeler_summaries=[label_sets_pb2.LabelerSummary(labeler=f"{PROJECT}/labelers/good-words")],
        )  # fmt: skip

    def GetProblemSpec(self, request: Any, context: grpc.ServicerContext) -> problem_spec_pb2.ProblemSpec:
        if request.name != SPEC:
            raise NotFound("problem spec", request.name)
        return problem_spec_pb2.ProblemSpec(
            name=SPEC, dataset=DATASET, version=1, task=problem_spec_pb2.TASK_SINGLE_LABEL,
            classes=[problem_spec_pb2.ClassDefinition(name="bad"), problem_spec_pb2.ClassDefinition(name="good")],
            resolved_inputs=[schema_pb2.Column(name="review", kind=schema_pb2.COLUMN_KIND_TEXT)],
            metric=problem_spec_pb2.METRIC_ACCURACY,
        )  # fmt: skip

    def CutLabelSet(self, request: Any, context: grpc.ServicerContext) -> feedback_ledger_pb2.CutLabelSetResponse:
        self.cuts.append(request)
        label_set = self.cut(request)
        return feedback_ledger_pb2.CutLabelSetResponse(label_set=label_set, dataset_version=VERSION, feedback_votes=3)


def no_feedback(_: object) -> str:
    raise FailedPrecondition("There is no feedback.", reason="NO_FEEDBACK")


def not_applied_until(calls: int, answer: str = FULL) -> Callable[[object], str]:
    """A labeling that is behind for the first so many calls."""
    asked = iter(range(1_000))

    def cut(_: object) -> str:
        if next(asked) < calls:
            raise FailedPrecondition("Not yet.", reason="NOT_APPLIED_YET")
        return answer

    return cut


class World:
    """Labeling and the registry on loopback ports, beside one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.objects = DirectoryStore(data_dir / "objects")
        self.labeling = Labeling(self.objects, data_dir)
        self._labeling = _serve_labeling(self.labeling)
        self._registry = start_registry(
            RegistrySettings(data_dir=data_dir, registry_address="127.0.0.1:0", internal_token=TOKEN)  # type: ignore[arg-type]
        )
        self.labeling_address = f"127.0.0.1:{self._labeling.port}"
        self.registry_address = f"127.0.0.1:{self._registry.port}"
        self._channel = internal_channel(self.registry_address, token=TOKEN, service="registry")
        self.versions = registry_pb2_grpc.VersionServiceStub(self._channel)
        self.aliases = registry_pb2_grpc.AliasServiceStub(self._channel)
        self.models = registry_pb2_grpc.ModelServiceStub(self._channel)

    def versions_of(self, model: str) -> list[registry_pb2.Version]:
        return list(self.versions.ListVersions(registry_pb2.ListVersionsRequest(parent=model)).versions)

    def champion(self, model: str) -> registry_pb2.Alias:
        alias: registry_pb2.Alias = self.aliases.GetAlias(registry_pb2.GetAliasRequest(name=f"{model}/aliases/champion"))
        return alias

    def promote(self, version: str, etag: str = "") -> None:
        name = f"{version.rpartition('/versions/')[0]}/aliases/champion"
        self.aliases.SetAlias(registry_pb2.SetAliasRequest(name=name, version=version, etag=etag, why="a test"))

    def stop(self) -> None:
        self.labeling.gate.set()
        self._channel.close()
        self._labeling.stop(0)
        self._registry.stop(0)


@dataclass(frozen=True, slots=True)
class Client:
    """The three stubs of training on one channel."""

    channel: grpc.Channel

    @property
    def runs(self) -> Any:
        return runs_pb2_grpc.RunServiceStub(self.channel)

    @property
    def designs(self) -> Any:
        return designs_pb2_grpc.DesignServiceStub(self.channel)

    @property
    def policies(self) -> Any:
        return policies_pb2_grpc.PolicyServiceStub(self.channel)

    def create(self, model: str, *, label_set: str = FULL, run_id: str = "", request_id: str = "", **fields: Any) -> Any:
        run = runs_pb2.Run(label_set=label_set, model=model, **fields)
        return self.runs.CreateRun(runs_pb2.CreateRunRequest(parent=PROJECT, run_id=run_id, run=run, request_id=request_id))

    def get(self, name: str) -> Any:
        return self.runs.GetRun(runs_pb2.GetRunRequest(name=name))

    def watched(self, name: str, after: int = 0) -> list[Any]:
        """All events until the run's end."""
        return list(self.runs.WatchRun(runs_pb2.WatchRunRequest(name=name, after_sequence=after), timeout=60))

    def finished(self, name: str) -> Any:
        self.watched(name)
        return self.get(name)


def send_feedback(log: EventLog, model: str, ids: Sequence[str]) -> None:
    """Appends feedback as the gateway does."""
    events = []
    for event_id in ids:
        message = events_pb2.Feedback(event_id=event_id, model=model, class_names=["good"], source="app")
        message.accept_time.GetCurrentTime()
        events.append(Event(key=model, value=message.SerializeToString()))
    log.append(FEEDBACK, events)


def _version(name: str, stored: StoredManifest, column: str = "review") -> datasets_pb2.DatasetVersion:
    schema = schema_pb2.Schema(columns=[schema_pb2.Column(name=column, kind=schema_pb2.COLUMN_KIND_TEXT)])
    return datasets_pb2.DatasetVersion(name=name, object_key=stored.key, digest=stored.digest, schema=schema)


def _serve_labeling(labeling: Labeling) -> RunningServer:
    def add(server: grpc.Server) -> None:
        datasets_pb2_grpc.add_DatasetServiceServicer_to_server(labeling, server)
        label_sets_pb2_grpc.add_LabelSetServiceServicer_to_server(labeling, server)
        problem_specs_pb2_grpc.add_ProblemSpecServiceServicer_to_server(labeling, server)
        feedback_ledger_pb2_grpc.add_RegrowthServiceServicer_to_server(labeling, server)

    return serve(name="labeling", address="127.0.0.1:0", add_servicers=add, services=[], internal_token=TOKEN, ready={})


def _reviews(objects: DirectoryStore, scratch: Path, *, times: int = 1, most: int = ROWS) -> StoredManifest:
    chance = random.Random(7)
    texts = []
    for row in range(ROWS):
        words = chance.sample(_GOOD if row % 2 else _BAD, 2) + chance.sample(_PLAIN, 5)
        chance.shuffle(words)
        texts.append(" ".join([*words, str(row)]))
    schema = Schema((Column(name="review", kind=Kind.TEXT),))
    rows = (texts * times)[:most]
    writer = PartsWriter(objects, "default/reviews/1", schema, scratch)
    writer.write([pa.array(rows)], np.arange(len(rows)) < HELD)
    parts = writer.finish()
    return write_manifest(
        objects, "default/reviews/1", Manifest(schema=schema, parts=parts, row_count=len(rows), holdout_count=HELD)
    )


def _label_sets(objects: DirectoryStore) -> dict[str, StoredLabelSet]:
    rows = np.arange(ROWS)
    right, held = rows % 2, rows < HELD
    few = held | (rows < HELD + 24)
    wrong = np.where(held | (rows % 6 < 2), right, 1 - right)

    def stored(labels: np.ndarray, chosen: np.ndarray, confidence: float) -> StoredLabelSet:
        sure = np.where(held, 1.0, confidence)[chosen]
        good = np.where(labels[chosen] == 1, sure, 1 - sure)
        frame = pd.DataFrame({
            "row": rows[chosen], "holdout": held[chosen], "gold": held[chosen], "covered": True, "votes": 1,
            "probabilities": list(np.stack([1 - good, good], axis=1).astype(np.float32)),
        })  # fmt: skip
        return write_label_set(objects, project="default", dataset="reviews", frame=frame)

    everything = np.ones(ROWS, dtype=bool)
    return {
        SEED: stored(wrong, few, 0.9),
        AGAIN: stored(wrong, few, 0.8),
        FULL: stored(right, everything, 0.95),
        LOST: stored(right, everything, 0.9),
    }
