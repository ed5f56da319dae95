"""One way to run a service: `run_forever(serve(...))`.

The server has health, reflection, metrics and the interceptors of `interceptors.py`. It reports SERVING only while the
engines that it needs answer. On SIGTERM it reports NOT_SERVING, takes no new call, lets the running ones finish within a
grace period, and only then stops what the service stops with it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc

from services.common.errors import FailedPrecondition
from services.common.rpc.credentials import bind
from services.common.rpc.interceptors import ErrorsAsStatus, Observed, PrincipalRequired
from services.common.rpc.readiness import Health, ReadinessWatch, close_one
from services.common.rpc.reflecting import enable_reflection
from services.common.telemetry import serve_metrics
from services.common.tls import CertificateFiles

MAX_MESSAGE_BYTES = 16 << 20
MAX_METADATA_BYTES = 32 << 10
READY_EVERY_SECONDS = 5.0
GRACE_SECONDS = 20.0

# Calls that wait for a worker are bounded, so that a flood is refused at once instead of timing out in a queue.
_WAITING_PER_WORKER = 8
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 0),  # else a second server takes the port silently and half of the calls
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

log = structlog.get_logger()


class RunningServer:
    """A server that takes calls. Stop it once, from any thread."""

    def __init__(
        self,
        *,
        name: str,
        port: int,
        server: grpc.Server,
        pool: ThreadPoolExecutor,
        watch: ReadinessWatch,
        closers: Sequence[Callable[[], None]],
    ) -> None:
        self.name = name
        self.port = port
        self._server = server
        self._pool = pool
        self._watch = watch
        self._closers = closers
        self._stopping = threading.Lock()
        self._stopped = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the server has stopped; answers whether it has."""
        return self._stopped.wait(timeout)

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Drains: NOT_SERVING, no new calls, running ones may take `grace` seconds, then they are cut. Then `on_stop`."""
        self._watch.drain()
        ended = self._server.stop(grace)
        ended.wait()
        with self._stopping:
            if self._stopped.is_set():
                return
            self._pool.shutdown(wait=False, cancel_futures=True)
            for close in self._closers:
                close_one(self.name, close)
            self._stopped.set()


def serve(
    *,
    name: str,
    address: str,
    add_servicers: Callable[[grpc.Server], None],
    services: Sequence[str],
    internal_token: str,
    ready: Mapping[str, Callable[[], None]],
    uses: Mapping[str, Callable[[], None]] | None = None,
    workers: int = 16,
    metrics_address: str | None = None,
    on_stop: Callable[[], None] | None = None,
    on_drain: Callable[[], None] | None = None,
    ready_every: float = READY_EVERY_SECONDS,
    certificate: CertificateFiles | None = None,
) -> RunningServer:
    """Starts a server and returns while it runs.

    `services` are full proto names (`regrow.registry.v1.ModelService`). `ready` holds a check of each engine without which
    the service can't work, `uses` of those whose work waits while they are away: a check raises what is wrong.
    A stream occupies one of `workers` while it lasts. `on_drain` runs when a stop begins, for streams that would outlast
    the grace; `on_stop` when the last call has ended. With a `certificate` only callers that show one of its authorities are
    taken, health checks included. Port 0 takes a free one. Raises `FailedPrecondition`.
    """
    if not internal_token:
        raise FailedPrecondition(f"{name} has no internal token. Set REGROW_INTERNAL_TOKEN.", reason="NO_INTERNAL_TOKEN")
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
    server = grpc.server(
        pool,
        interceptors=[ErrorsAsStatus(), Observed(name), PrincipalRequired(internal_token)],
        options=_OPTIONS,
        maximum_concurrent_rpcs=workers * (1 + _WAITING_PER_WORKER),
    )
    add_servicers(server)
    servicer = Health()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    enable_reflection(server, services)
    port = bind(server, address, certificate)
    closers = [] if on_stop is None else [on_stop]
    if metrics_address:
        closers.append(_with_metrics(server, name, metrics_address))
    watch = ReadinessWatch(
        name, servicer, (health.OVERALL_HEALTH, *services), needs=ready, uses=uses or {}, every=ready_every, on_drain=on_drain
    )
    server.start()
    watch.start()
    log.info("serving", address=address, port=port, tls=certificate is not None)
    return RunningServer(name=name, port=port, server=server, pool=pool, watch=watch, closers=closers)


def run_forever(server: RunningServer, grace: float = GRACE_SECONDS) -> None:
    """Blocks the main thread until SIGTERM or SIGINT, then drains. A second signal cuts the running calls."""
    asked = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            threading.Thread(target=server.stop, args=(0,), daemon=True).start()
        asked.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not asked.wait(1.0) and not server.wait(0):
            pass
        log.info("draining", seconds=grace)
        server.stop(grace)
        log.info("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _with_metrics(server: grpc.Server, name: str, address: str) -> Callable[[], None]:
    try:
        return serve_metrics(name, address)
    except FailedPrecondition:
        server.stop(0)  # gives its own port back
        raise
