"""Puts training together and runs it. The one place that knows which engines it stands on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from regrow.training.v1 import batch_predictions_pb2_grpc, designs_pb2_grpc, policies_pb2_grpc, runs_pb2_grpc
from services.common.database import Database, open_database
from services.common.events import EventLog, events_from
from services.common.objects import ObjectStore, objects_from
from services.common.rpc.client import internal_channel
from services.common.rpc.principal import service_principal
from services.common.rpc.server import RunningServer, run_forever, serve
from services.common.settings import load
from services.common.telemetry import configure_logging
from services.common.tls import own_certificate
from services.common.tracing import start_tracing
from services.training import meters
from services.training.batch_predictions import storage as batch_storage
from services.training.batch_predictions.grpc_api import BatchPredictionApi
from services.training.batch_predictions.handlers import BatchPredictions
from services.training.batch_predictions.workflow import BatchWorkflow
from services.training.durable import BATCH_PREDICTIONS, REGROWTHS, RUNS, Durable, durable_database
from services.training.peers import Labeling, Registry
from services.training.policies import storage as policy_storage
from services.training.policies.counting import FeedbackCounter
from services.training.policies.grpc_api import PolicyApi
from services.training.policies.handlers import Policies
from services.training.policies.regrowth import RegrowthWorkflow
from services.training.policies.rules import State as RegrowthState
from services.training.policies.watch import PolicyWatch
from services.training.runs import storage as run_storage
from services.training.runs.grpc_api import DesignApi, RunApi
from services.training.runs.handlers import Runs, Signal
from services.training.runs.workflow import RunWorkflow
from services.training.settings import TrainingSettings

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICES = (
    "regrow.training.v1.DesignService", "regrow.training.v1.RunService", "regrow.training.v1.PolicyService",
    "regrow.training.v1.BatchPredictionService",
)  # fmt: skip
_LOST = "Its place in the queue was lost. Submit it again."


class Engines:
    """What training stands on and whom it asks."""

    def __init__(self, settings: TrainingSettings) -> None:
        caller, token = service_principal("training"), settings.internal_token.get_secret_value()
        self.certificate = own_certificate(settings)
        self._channels: list[grpc.Channel] = []
        for service, address in (("labeling", settings.labeling_address), ("registry", settings.registry_address)):
            channel = internal_channel(address, token=token, principal=caller, service=service, certificate=self.certificate)
            self._channels.append(channel)
        self.labeling, self.registry = Labeling(self._channels[0]), Registry(self._channels[1])
        self.database: Database = open_database(settings.database(), migrations=MIGRATIONS)
        self.objects: ObjectStore = objects_from(settings)
        self.events: EventLog = events_from(settings)

    def close(self) -> None:
        """Gives all of it back."""
        self.events.close()
        for channel in self._channels:
            channel.close()
        self.database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The parts of the service, put together and not started."""

    engines: Engines
    signal: Signal
    durable: Durable
    runs: Runs
    policies: Policies
    batches: BatchPredictions
    watch: PolicyWatch
    counter: FeedbackCounter

    def add(self, server: grpc.Server) -> None:
        """Registers the services."""
        runs_pb2_grpc.add_RunServiceServicer_to_server(RunApi(self.runs), server)
        designs_pb2_grpc.add_DesignServiceServicer_to_server(DesignApi(self.engines.labeling), server)
        policies_pb2_grpc.add_PolicyServiceServicer_to_server(PolicyApi(self.policies), server)
        batch_predictions_pb2_grpc.add_BatchPredictionServiceServicer_to_server(BatchPredictionApi(self.batches), server)

    def start(self) -> None:
        """Takes up unfinished work, also what a crash kept from the queue; then counts and watches."""
        self.durable.start()
        with self.engines.database.reading() as session:
            waiting, growing = run_storage.unfinished(session), policy_storage.unfinished(session)
            scoring = batch_storage.unfinished(session)
        for run in waiting:
            if not self.durable.submit(RUNS, run.name, express=run.express):
                with self.engines.database.session() as session:
                    run_storage.fail(session, run.name, _LOST)
        for name in growing:
            if not self.durable.submit(REGROWTHS, name):
                with self.engines.database.session() as session:
                    policy_storage.note(session, name, state=RegrowthState.FAILED, decision=_LOST)
        for name in scoring:
            if not self.durable.submit(BATCH_PREDICTIONS, name):
                with self.engines.database.session() as session:
                    batch_storage.fail(session, name, _LOST)
        self.counter.start()
        self.watch.start()

    def stop(self) -> None:
        """Interrupts what runs and closes everything."""
        self.counter.stop()
        self.watch.stop()
        self.durable.stop()
        self.engines.close()


def assemble(settings: TrainingSettings) -> Training:
    """Opens the engines and puts the parts together. Raises `FailedPrecondition`, `EngineUnavailable`."""
    engines, signal = Engines(settings), Signal()
    durable = Durable(
        database_url=durable_database(settings.database(), settings.data_dir),
        executor=settings.executor,
        concurrent_runs=settings.concurrent_runs,
        concurrent_batches=settings.concurrent_batch_predictions,
        patience=settings.outage_patience,
    )
    runs = Runs(
        engines.database, engines.labeling, engines.registry,
        lambda name, express: durable.submit(RUNS, name, express=express), signal,
        checkpoints=settings.checkpoint_dir, watchers=settings.workers // 2,
    )  # fmt: skip
    policies = Policies(engines.database, engines.registry, engines.events, lambda name: durable.submit(REGROWTHS, name))
    batches = BatchPredictions(
        engines.database, engines.objects, engines.labeling, engines.registry,
        lambda name: durable.submit(BATCH_PREDICTIONS, name),
    )  # fmt: skip
    watch = PolicyWatch(policies)
    _register_workflows(settings, engines, durable, runs, signal)
    return Training(
        engines=engines, signal=signal, durable=durable, runs=runs, policies=policies, batches=batches,
        watch=watch,
        counter=FeedbackCounter(engines.events, engines.database, watch.wake),
    )  # fmt: skip


def _register_workflows(settings: TrainingSettings, engines: Engines, durable: Durable, runs: Runs, signal: Signal) -> None:
    run = RunWorkflow(
        database=engines.database, labeling=engines.labeling, registry=engines.registry, durable=durable, signal=signal,
        work_dir=settings.work_dir, environment={"REGROW_DATA_DIR": str(settings.data_dir.absolute())},
        checkpoints=settings.checkpoint_dir, time_limit=settings.run_time_limit,
    )  # fmt: skip
    regrowth = RegrowthWorkflow(
        database=engines.database, labeling=engines.labeling, registry=engines.registry, objects=engines.objects,
        durable=durable, runs=runs, work_dir=settings.work_dir, cut_time_limit=settings.cut_time_limit,
    )  # fmt: skip
    batch = BatchWorkflow(
        database=engines.database, objects=engines.objects, labeling=engines.labeling, registry=engines.registry,
        durable=durable, work_dir=settings.work_dir, environment=run.environment,
        time_limit=settings.batch_prediction_time_limit,
    )  # fmt: skip
    durable.workflow(BATCH_PREDICTIONS, batch)
    durable.workflow(RUNS, run)
    durable.workflow(REGROWTHS, regrowth)


def start(settings: TrainingSettings) -> RunningServer:
    """Serves, and takes up unfinished work. Raises `FailedPrecondition`, `EngineUnavailable`.

    The port comes first: a second service that is started by mistake ends before it touches the work of the first.
    """
    training = assemble(settings)
    try:
        server = serve(
            name="training",
            address=settings.training_address,
            add_servicers=training.add,
            services=SERVICES,
            internal_token=settings.internal_token.get_secret_value(),
            ready={"database": training.engines.database.check},
            uses={"objects": training.engines.objects.check, "events": training.engines.events.check},  # runs wait for them
            workers=settings.workers,
            metrics_address=settings.metrics_address,
            certificate=training.engines.certificate,
            on_stop=training.stop,
            on_drain=training.signal.close,
        )
    except BaseException:
        training.stop()
        raise
    meters.read_from(training.engines.database)
    training.start()
    return server


def main() -> None:
    """Runs until SIGTERM or SIGINT, then drains."""
    settings = load(TrainingSettings)
    configure_logging("training", level=settings.log_level, json=settings.log_json)
    end_tracing = start_tracing("training", settings)
    try:
        run_forever(start(settings), settings.drain_seconds)
    finally:
        end_tracing()
