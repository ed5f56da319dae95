"""Puts the registry together and runs it. The one place that knows which engines it stands on."""

from __future__ import annotations

from pathlib import Path

import grpc

from services.common.database import open_database
from services.common.events import events_from
from services.common.objects import objects_from
from services.common.rpc.server import RunningServer, run_forever, serve
from services.common.settings import load
from services.common.telemetry import configure_logging
from services.common.tls import own_certificate
from services.common.tracing import start_tracing
from services.registry import meters
from services.registry.grpc_api import SERVICES, add_servicers
from services.registry.handlers import Registry
from services.registry.outbox import Publisher
from services.registry.settings import RegistrySettings

MIGRATIONS = Path(__file__).parent / "migrations"


def start(settings: RegistrySettings) -> RunningServer:
    """Opens the engines, migrates, and serves. Raises `FailedPrecondition`, `EngineUnavailable`, `InvalidInput`."""
    certificate = own_certificate(settings)
    database = open_database(settings.database(), migrations=MIGRATIONS)
    objects, events = objects_from(settings), events_from(settings)
    publisher = Publisher(database, events)
    registry = Registry(database, objects, changed=publisher.wake)
    registry.ensure_default_project()

    def add(server: grpc.Server) -> None:
        add_servicers(server, registry)

    def stop() -> None:
        publisher.stop()
        events.close()
        database.close()

    server = serve(
        name="registry",
        address=settings.registry_address,
        add_servicers=add,
        services=SERVICES,
        internal_token=settings.internal_token.get_secret_value(),
        ready={"database": database.check},
        uses={"objects": objects.check, "events": events.check},  # aliases are read all the same, and changes wait
        workers=settings.workers,
        metrics_address=settings.metrics_address,
        certificate=certificate,
        on_stop=stop,
    )
    meters.read_from(database)
    publisher.start()
    return server


def main() -> None:
    """Runs until SIGTERM or SIGINT, then drains."""
    settings = load(RegistrySettings)
    configure_logging("registry", level=settings.log_level, json=settings.log_json)
    end_tracing = start_tracing("registry", settings)
    try:
        run_forever(start(settings), settings.drain_seconds)
    finally:
        end_tracing()
