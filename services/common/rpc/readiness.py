"""Whether a service can work: the engines that it stands on are asked again and again, and the health service tells.

The standard answer says SERVING or not. Which engines are missing, and why, goes along as trailing metadata.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import grpc
import structlog
from grpc_health.v1 import health, health_pb2

import regrow
from services.common.errors import RegrowError
from services.common.metering import READY

MISSING_KEY = "regrow-missing-bin"
"""Trailing metadata of `Check`: a JSON object, engine -> what is wrong with it."""

SOFTWARE_KEY, CLOCK_KEY = "regrow-software-version", "regrow-clock-time"
"""Trailing metadata of `Check`: the version that runs, and what the clock shows (RFC 3339)."""

_MOST_LETTERS = 500

Checks = Mapping[str, Callable[[], None]]
"""Engine -> a check that raises what is wrong with it."""

log = structlog.get_logger()


class Health(health.HealthServicer):
    """The standard health service; `missing` is told with every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: Mapping[str, str] = {}

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:
        """See `grpc.health.v1.Health.Check`."""
        told = ((SOFTWARE_KEY, regrow.__version__), (CLOCK_KEY, datetime.now(UTC).isoformat()))
        missing = ((MISSING_KEY, json.dumps(self.missing).encode()),) if self.missing else ()
        context.set_trailing_metadata((*told, *missing))
        answer: health_pb2.HealthCheckResponse = super().Check(request, context)
        return answer


def read_missing(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Engine -> problem, as an answer of `Check` tells it."""
    told = next((value for key, value in metadata or () if key == MISSING_KEY), None)
    return {} if told is None else dict(json.loads(told))


class ReadinessWatch:
    """Asks the checks again and again and tells the health service; silent once draining.

    Without an engine of `needs` the service isn't SERVING. While one of `uses` is away it works on, and what waits for that
    engine waits.
    """

    def __init__(
        self,
        name: str,
        servicer: Health,
        services: Sequence[str],
        *,
        needs: Checks,
        uses: Checks,
        every: float,
        on_drain: Callable[[], None] | None,
    ) -> None:
        self._name = name
        self._servicer = servicer
        self._services = services
        self._needs, self._uses = needs, uses
        self._every = every
        self._on_drain = on_drain
        self._draining = threading.Event()
        self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> None:
        """Asks once, then keeps asking in a thread."""
        self._ask()
        threading.Thread(target=self._watch, name=f"{self._name}-ready", daemon=True).start()

    def drain(self) -> None:
        """NOT_SERVING from now on, whatever the checks say."""
        if not self._draining.is_set():
            self._draining.set()
            self._servicer.enter_graceful_shutdown()
            if self._on_drain is not None:
                close_one(self._name, self._on_drain)

    def _watch(self) -> None:
        while not self._draining.wait(self._every):
            self._ask()

    def _ask(self) -> None:
        missing = {name: problem for name, check in {**self._needs, **self._uses}.items() if (problem := _problem(check))}
        able = self._needs.keys().isdisjoint(missing)
        before, self._servicer.missing = self._servicer.missing, missing
        READY.labels(self._name).set(able)
        self._tell(health_pb2.HealthCheckResponse.SERVING if able else health_pb2.HealthCheckResponse.NOT_SERVING)
        if missing and missing != before:
            log.warning("engines are missing", serving=able, **{f"missing_{name}": told for name, told in missing.items()})
        elif before and not missing:
            log.info("all engines answer again")

    def _tell(self, serving: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in self._services:
            self._servicer.set(service, serving)


def close_one(name: str, close: Callable[[], None]) -> None:
    """Closes a part; a failure is logged, for the others shall be closed too."""
    try:
        close()
    except Exception:
        log.exception("closing failed", part=getattr(close, "__qualname__", name))


def _problem(check: Callable[[], None]) -> str:
    try:
        check()
    except RegrowError as error:
        return error.message[:_MOST_LETTERS]
    except Exception:
        log.exception("a readiness check failed")
        return "its check failed"
    return ""
