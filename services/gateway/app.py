"""Puts the gateway together and runs it: one process, one event loop, REST and gRPC. The one place that knows the engines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from socket import socket
from typing import Any, NamedTuple

import grpc
import structlog
import uvloop
from grpc_health.v1._async import HealthServicer

from services.common.database import Database
from services.common.errors import RegrowError
from services.common.events import EventLog, events_from
from services.common.metering import describe_build
from services.common.objects import objects_from
from services.common.rpc.credentials import bind
from services.common.settings import load
from services.common.telemetry import configure_logging, serve_metrics
from services.common.tls import CertificateFiles, own_certificate, public_certificate
from services.common.tracing import start_tracing
from services.gateway import forwarding
from services.gateway.audit.grpc_api import AuditApi
from services.gateway.audit.trail import Trail
from services.gateway.callers import Callers
from services.gateway.calls import Calls
from services.gateway.events import EventApi
from services.gateway.feedback.door import Feedback
from services.gateway.feedback.from_log import LogDoor
from services.gateway.feedback.stream import FeedbackStreams
from services.gateway.feedback.writing import Writer
from services.gateway.grpc_api import KeyApi, local_calls, local_streams
from services.gateway.http_server import HttpServer, listener
from services.gateway.inference.aliases import RegistryView
from services.gateway.inference.batching import Batches
from services.gateway.inference.following import Follower
from services.gateway.inference.loading import Loader
from services.gateway.inference.prediction import Predictor
from services.gateway.inference.prediction_log import PredictionLog
from services.gateway.inference.residents import Residents
from services.gateway.inference.serving import Serving
from services.gateway.keys.handlers import Keys
from services.gateway.keys.ring import KeyRing
from services.gateway.keys.rules import Pepper
from services.gateway.keys.storage import open_keys
from services.gateway.limits.batch_predictions import CREATE as CREATE_BATCH
from services.gateway.limits.batch_predictions import CountedBatches
from services.gateway.limits.limiter import Limiter
from services.gateway.limits.rules import Limits
from services.gateway.methods import GATEWAY, public_methods
from services.gateway.oip.door import Door
from services.gateway.oip.grpc_api import service as inference_service
from services.gateway.oip.repository import Repository
from services.gateway.oip.rest import InferenceRest
from services.gateway.operations.api import Operations
from services.gateway.operations.running import Runner
from services.gateway.pages import make_app
from services.gateway.projects import Projects
from services.gateway.rest import Rest
from services.gateway.routes import Router
from services.gateway.settings import GatewaySettings
from services.gateway.system import Inference, System
from services.gateway.tokens.verifying import Tokens, trust_of
from services.gateway.upstreams import Upstreams

FIRST_KEY = "Your admin key. It is shown only this once; keep it like a password:"
_SET_ALIAS = "/regrow.registry.v1.AliasService/SetAlias"
_DELETE_PROJECT = "/regrow.registry.v1.ProjectService/DeleteProject"
_FLUSH_SECONDS = 10.0
_SWITCH_SECONDS = 0.0005
"""How soon a thread that computes in Python lets the event loop in. With the interpreter's 5 ms, reading the words of a model
that is loaded held it up for 24 ms; so it is 5."""
_FIRST_READING_SECONDS = 3.0
_FIRST_LOADS_SECONDS = 20.0

log = structlog.get_logger()


class Certificates(NamedTuple):
    """What the gateway shows to the services behind it, and to the public; None where it speaks plainly."""

    own: CertificateFiles | None
    door: CertificateFiles | None


class Gateway:
    """A gateway that takes calls, from `start` to `stop`."""

    def __init__(self, settings: GatewaySettings, database: Database, events: EventLog, certificates: Certificates) -> None:
        self._settings = settings
        self._door_certificate = certificates.door
        self._database = database
        self._events = events
        home = settings.data_dir / GATEWAY
        objects = objects_from(settings)
        addresses = {
            "labeling": settings.labeling_address, "training": settings.training_address, "registry": settings.registry_address,
        }  # fmt: skip
        self._upstreams = Upstreams(addresses, settings.internal_token.get_secret_value(), certificates.own)
        registry = RegistryView(self._upstreams.channel("registry"))
        residents = Residents(settings.memory_budget_bytes)
        self._loader = Loader(objects, home / "bundles", budget=settings.memory_budget_bytes, batch_rows=settings.batch_rows)
        self.serving = Serving(
            self._loader, registry, lambda: self._follower.refresh(),
            residents=residents, most_versions=settings.loaded_versions, load_wait=settings.load_wait_seconds,
        )  # fmt: skip
        self._follower = Follower(registry, events, self.serving.apply, home / "aliases.json", settings.relist_seconds)
        pepper = _pepper(settings)
        self.keys = KeyRing(database, pepper)
        self._limiter = Limiter(database, self.keys.limits, _default_limits(settings))
        self._predictions = PredictionLog(events, most_rows=settings.prediction_log_rows)
        batches = Batches(
            threads=settings.predict_threads, backlog=settings.predict_backlog, per_model=settings.model_concurrency
        )
        self._predictor = Predictor(self.serving, self._predictions, self._limiter, batches)
        self._feedback = Writer(
            events, self._limiter, backlog=settings.feedback_backlog, wait_seconds=settings.feedback_wait_seconds
        )
        self._feedback_streams = FeedbackStreams(self.serving, self._feedback)
        self._log_door = LogDoor(self.serving, self._feedback, events)
        checks = {"database": database.check, "events": events.check, "objects": objects.check}
        inference = Inference(self.serving, residents, batches)
        self._system = System(self._upstreams, self._follower, inference, self._predictions, checks, events)
        self._trail = Trail(database, events, days=settings.audit_days)
        projects = Projects(self._upstreams.channel("registry"))
        feedback, keys = (
            Feedback(self.serving, self._feedback),
            KeyApi(Keys(database, pepper), self.keys, self._limiter, projects),
        )
        audit, letters = AuditApi(database), EventApi(events)
        local = local_calls(self._predictor, feedback, keys, audit, self._system, letters)
        callers, streams = Callers(self.keys, self._limiter, _tokens(settings)), local_streams(self._feedback_streams)
        self._calls = Calls(callers, self._upstreams, local, projects, streams, self._trail)
        self._calls.answer_here({CREATE_BATCH: CountedBatches(self._limiter, self._calls.start).create})
        self._calls.answer_here(Repository(self.serving, self._system, settings.predict_threads).handlers())
        self._door = Door(self._calls, self._predictor)
        self._calls.after |= {_SET_ALIAS: self._follower.ring, _DELETE_PROJECT: projects.forget}
        keep = timedelta(days=settings.operation_days)
        self._runner = Runner(database, self._calls, at_once=settings.operations_at_once, keep=keep)
        self._operations = Operations(database, self._calls, self._runner, most_waiting=settings.operation_backlog, keep=keep)
        self._calls.answer_here(self._operations.local_calls())
        self._tasks: list[asyncio.Task[None]] = []
        self._server: grpc.aio.Server | None = None
        self._health: HealthServicer | None = None
        self._http: HttpServer | None = None
        self.http_port = 0
        self.grpc_port = 0

    async def start(self) -> None:
        """Serves what was served last at once; asks the registry for a moment, and goes on without it if it must."""
        describe_build(GATEWAY)
        self._follower.start_from_copy()
        await self.keys.refresh()
        await self._limiter.write()
        self._trail.start()
        self._run(self._follower.run())
        self._run(self.keys.keep_fresh())
        self._run(self._system.keep_told())
        self._run(self._limiter.keep_written())
        self._run(self._runner.run())
        with contextlib.suppress(RegrowError, TimeoutError):
            async with asyncio.timeout(_FIRST_READING_SECONDS):
                await asyncio.shield(self._follower.refresh())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOADS_SECONDS):
                await self.serving.settled()
        self._server, self._health = forwarding.make_server(self._calls, [inference_service(self._door)])
        taken = listener(self._settings.gateway_http_address)
        try:
            self.grpc_port = bind(self._server, self._settings.gateway_grpc_address, self._door_certificate)
        except RegrowError:
            taken.close()
            raise
        await self._server.start()
        await self._serve_http(taken)
        if self._settings.feedback_from_log:
            self._log_door.start()
        log.info("serving", http_port=self.http_port, grpc_port=self.grpc_port, tls=self._door_certificate is not None)

    async def stop(self, grace: float) -> None:
        """Drains: tells that it stops, takes no new call, lets the running ones finish within the grace, writes what waits."""
        self._system.draining = True
        self._calls.drain()
        self._feedback_streams.drain()
        if self._server is not None and self._health is not None:
            await self._health.enter_graceful_shutdown()
            await asyncio.gather(self._server.stop(grace), self._end_http())
        await asyncio.to_thread(self._log_door.close)
        await self._runner.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._loader.close()
        await asyncio.to_thread(self._follower.close)
        await asyncio.to_thread(self._predictor.close)
        await asyncio.to_thread(self._predictions.close, _FLUSH_SECONDS)
        await asyncio.to_thread(self._feedback.close, _FLUSH_SECONDS)
        await asyncio.to_thread(self._trail.close, _FLUSH_SECONDS)
        with contextlib.suppress(RegrowError):
            await self.keys.write_uses()
            await self._limiter.write()
        await self._upstreams.close()
        self._events.close()
        self._database.close()

    def cut(self) -> None:
        """Ends a drain at once."""
        if self._http is not None:
            self._http.cut()
        if self._server is not None:
            self._run(self._server.stop(0))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _end_http(self) -> None:
        if self._http is not None:
            await self._http.stop()

    async def _serve_http(self, taken: socket) -> None:
        settings = self._settings
        rest = Rest(
            self._calls, Router(public_methods().values()), self._operations,
            max_body_bytes=settings.max_body_bytes, max_upload_bytes=settings.max_upload_bytes,
        )  # fmt: skip
        inference = InferenceRest(self._door, max_body_bytes=settings.max_body_bytes)
        self.http_port = taken.getsockname()[1]
        self._http = HttpServer(
            make_app(self._system, rest, inference, public_metrics=settings.public_metrics),
            drain_seconds=settings.drain_seconds, certificate=self._door_certificate,
        )  # fmt: skip
        await self._http.start(taken)


async def open_gateway(
    settings: GatewaySettings, *, on_first_key: Callable[[str], None] = lambda _: None
) -> tuple[Gateway, str | None]:
    """Opens the engines and starts. The second is the secret of the first admin key, where this start made it.

    `on_first_key` hears it as soon as it is kept: a start that fails afterwards must not take it along.
    """
    certificates = Certificates(own_certificate(settings), public_certificate(settings))
    database = await asyncio.to_thread(open_keys, settings.database())
    keys = Keys(database, _pepper(settings))
    await asyncio.to_thread(keys.adopt)
    first = await asyncio.to_thread(keys.create_first)
    if first is not None:
        on_first_key(first)
    events = await asyncio.to_thread(events_from, settings)
    gateway = Gateway(settings, database, events, certificates)
    try:
        await gateway.start()
    except BaseException:
        await gateway.stop(0.0)
        raise
    return gateway, first


async def run(settings: GatewaySettings) -> None:
    """Runs until SIGTERM or SIGINT, then drains; a second signal cuts the running calls."""
    gateway, _ = await open_gateway(settings, on_first_key=partial(_print_key, FIRST_KEY))
    end_tracing = start_tracing(GATEWAY, settings)
    gc.collect()
    gc.freeze()  # what a start made stays; collections needn't look at it each time a batch of events is made
    close_metrics = serve_metrics(GATEWAY, settings.metrics_address) if settings.metrics_address else None
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
    log.info("draining", seconds=settings.drain_seconds)
    stopping = asyncio.ensure_future(gateway.stop(settings.drain_seconds))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.cut)
    await stopping
    if close_metrics is not None:
        await asyncio.to_thread(close_metrics)
    await asyncio.to_thread(end_tracing)
    log.info("stopped")


def main(arguments: list[str] | None = None) -> None:
    """`python -m services.gateway` serves; `python -m services.gateway keys reset` makes a new admin key on this machine."""
    given = sys.argv[1:] if arguments is None else arguments
    settings = load(GatewaySettings, given)
    configure_logging(GATEWAY, level=settings.log_level, json=settings.log_json)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    if list(given[:2]) == ["keys", "reset"]:
        database = open_keys(settings.database())
        _print_key(
            "A new admin key. It is shown only this once; the others stay good until you revoke them:",
            Keys(database, _pepper(settings)).reset(),
        )
        database.close()
        return
    sys.setswitchinterval(_SWITCH_SECONDS)
    uvloop.run(run(settings))


def _tokens(settings: GatewaySettings) -> Tokens | None:
    """What reads bearer tokens, where an identity provider is set. Raises `InvalidField`."""
    trust = trust_of(settings)
    return None if trust is None else Tokens(trust)


def _default_limits(settings: GatewaySettings) -> Limits:
    return Limits(
        calls_per_second=settings.calls_per_second, burst=settings.calls_burst, rows_per_day=settings.rows_per_day,
        feedback_per_day=settings.feedback_per_day,
    )  # fmt: skip


def _pepper(settings: GatewaySettings) -> Pepper:
    return Pepper(settings.key_pepper.get_secret_value())


def _print_key(words: str, secret: str) -> None:
    sys.stdout.write(f"{words}\n{secret}\n")
    sys.stdout.flush()
