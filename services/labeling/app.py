"""Puts the labeling service together and runs it. The one place that knows which engines it stands on.

A part of labeling is added in two lines: build it in `_parts`, and give its service's full name, its `add_..._to_server`
and its servicer. What it must do when a data set is deleted goes into `users` and `forget` of `Datasets`; its tables
into `migrations/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa

from regrow.labeling.v1 import (
    annotation_pb2_grpc,
    datasets_pb2_grpc,
    feedback_ledger_pb2_grpc,
    label_sets_pb2_grpc,
    labelers_pb2_grpc,
    problem_specs_pb2_grpc,
    votes_pb2_grpc,
)
from services.common.database import Database, open_database
from services.common.events import events_from
from services.common.events.port import EventLog
from services.common.objects import ObjectStore, objects_from
from services.common.rpc.server import RunningServer, run_forever, serve
from services.common.settings import load
from services.common.telemetry import configure_logging
from services.common.tls import own_certificate
from services.common.tracing import start_tracing
from services.labeling.annotation import grpc_api as annotation_api
from services.labeling.annotation.handlers import Annotation
from services.labeling.datasets import grpc_api as datasets_api
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.spool import sweep
from services.labeling.feedback import grpc_api as feedback_api
from services.labeling.feedback.consumer import FeedbackConsumer
from services.labeling.feedback.handlers import Feedback
from services.labeling.feedback.handlers import forget_dataset as forget_votes
from services.labeling.feedback.regrowth import Regrowth
from services.labeling.label_sets import grpc_api as label_sets_api
from services.labeling.label_sets.handlers import LabelSets
from services.labeling.label_sets.storage import forget_dataset as forget_label_sets
from services.labeling.label_sets.storage import label_sets_of
from services.labeling.labelers import grpc_api as labelers_api
from services.labeling.labelers.handlers import Labelers
from services.labeling.labelers.previewing import Previewing
from services.labeling.labelers.storage import forget_dataset as forget_vote_blocks
from services.labeling.settings import LabelingSettings
from services.labeling.specs import grpc_api as specs_api
from services.labeling.specs.handlers import Specs
from services.labeling.votes import grpc_api as votes_api

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the parts stand on."""

    database: Database
    objects: ObjectStore
    events: EventLog
    settings: LabelingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One gRPC service of labeling, and what it runs beside the calls. `start` and `stop` must return at once."""

    service: str
    add: Callable[[Any, grpc.Server], None]
    servicer: object
    start: Callable[[], None] = field(default=lambda: None)
    stop: Callable[[], None] = field(default=lambda: None)


def _parts(engines: Engines) -> list[Part]:
    settings = engines.settings
    database, objects, scratch = engines.database, engines.objects, settings.scratch
    datasets = Datasets(
        database, objects, scratch, users=[label_sets_of], forget=[forget_votes, forget_vote_blocks, forget_label_sets]
    )
    labelers = Labelers(database, objects, scratch)
    label_sets = LabelSets(database, objects, labelers)
    feedback = Feedback(database, engines.events)
    consumer = FeedbackConsumer(engines.events, database, keep_predictions=timedelta(days=settings.prediction_days))
    return [
        Part(
            service=datasets_api.SERVICE,
            add=datasets_pb2_grpc.add_DatasetServiceServicer_to_server,
            servicer=datasets_api.DatasetServicer(datasets, most_import_bytes=settings.most_import_bytes),
        ),
        Part(
            service=specs_api.SERVICE,
            add=problem_specs_pb2_grpc.add_ProblemSpecServiceServicer_to_server,
            servicer=specs_api.ProblemSpecServicer(Specs(database, objects)),
        ),
        Part(
            service=labelers_api.SERVICE,
            add=labelers_pb2_grpc.add_LabelerServiceServicer_to_server,
            servicer=labelers_api.LabelerServicer(labelers, Previewing(database, objects, labelers, scratch)),
        ),
        Part(
            service=label_sets_api.SERVICE,
            add=label_sets_pb2_grpc.add_LabelSetServiceServicer_to_server,
            servicer=label_sets_api.LabelSetServicer(label_sets),
        ),
        Part(
            service=votes_api.SERVICE,
            add=votes_pb2_grpc.add_VoteServiceServicer_to_server,
            servicer=votes_api.VoteServicer(engines.database),
        ),
        Part(
            service=annotation_api.SERVICE,
            add=annotation_pb2_grpc.add_AnnotationServiceServicer_to_server,
            servicer=annotation_api.AnnotationServicer(Annotation(engines.database, datasets)),
        ),
        Part(
            service=feedback_api.LEDGER_SERVICE,
            add=feedback_ledger_pb2_grpc.add_FeedbackLedgerServiceServicer_to_server,
            servicer=feedback_api.FeedbackLedgerServicer(feedback),
            start=consumer.start,
            stop=consumer.stop,
        ),
        Part(
            service=feedback_api.REGROWTH_SERVICE,
            add=feedback_ledger_pb2_grpc.add_RegrowthServiceServicer_to_server,
            servicer=feedback_api.RegrowthServicer(Regrowth(database, datasets, label_sets, engines.events), feedback),
        ),
    ]


def start(settings: LabelingSettings) -> RunningServer:
    """Opens the engines, migrates, and serves. Raises `FailedPrecondition`, `EngineUnavailable`, `InvalidInput`."""
    certificate = own_certificate(settings)
    # Arrow's own allocators keep freed memory; the system's gives it back, so that a large import leaves no trace.
    pa.set_memory_pool(pa.system_memory_pool())
    sweep(settings.scratch)
    engines = Engines(
        database=open_database(settings.database(), migrations=MIGRATIONS),
        objects=objects_from(settings),
        events=events_from(settings),
        settings=settings,
    )
    parts = _parts(engines)

    def add(server: grpc.Server) -> None:
        for part in parts:
            part.add(part.servicer, server)

    def stop() -> None:
        for part in reversed(parts):
            part.stop()
        engines.events.close()
        engines.database.close()

    server = serve(
        name="labeling",
        address=settings.labeling_address,
        add_servicers=add,
        services=[part.service for part in parts],
        internal_token=settings.internal_token.get_secret_value(),
        ready={"database": engines.database.check, "objects": engines.objects.check},
        uses={"events": engines.events.check},  # feedback waits in the log, whatever holds it
        workers=settings.workers,
        metrics_address=settings.metrics_address,
        certificate=certificate,
        on_stop=stop,
    )
    for part in parts:
        part.start()
    return server


def main() -> None:
    """Runs until SIGTERM or SIGINT, then drains."""
    settings = load(LabelingSettings)
    configure_logging("labeling", level=settings.log_level, json=settings.log_json)
    end_tracing = start_tracing("labeling", settings)
    try:
        run_forever(start(settings), settings.drain_seconds)
    finally:
        end_tracing()
