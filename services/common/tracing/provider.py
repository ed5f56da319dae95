"""Turns tracing on: spans go in batches, by a thread of their own, to a collector over OTLP/gRPC.

OpenTelemetry's own variables hold for everything that Regrow has no setting for: `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_EXPORTER_OTLP_HEADERS` and the others of the exporter, `OTEL_BSP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_SDK_DISABLED`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol

import regrow
from services.common.tracing.context import TraceContext
from services.common.tracing.spans import MESSAGING, use

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TRACEPARENT, _REQUEST_ID = "TRACEPARENT", "REGROW_REQUEST_ID"
"""https://opentelemetry.io/docs/specs/otel/context/env-carriers/ names the first."""


class TraceSettings(Protocol):
    """The part of the settings that is read here."""

    @property
    def otlp_endpoint(self) -> str:
        """Where the collector listens; empty for none."""
        ...

    @property
    def trace_sample_ratio(self) -> float:
        """The share of new traces that is recorded."""
        ...

    @property
    def kafka_bootstrap(self) -> str:
        """Where Kafka is, if it holds the event log."""
        ...


def start_tracing(service: str, settings: TraceSettings) -> Callable[[], None]:
    """Traces from now on, if a collector is named; the answer sends what waits and ends it."""
    endpoint = settings.otlp_endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    if not endpoint or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return lambda: None
    # Only here: without a collector no service pays for these imports.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    names = {"service.name": service, "service.namespace": "regrow", "service.version": regrow.__version__}
    sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBased(TraceIdRatioBased(settings.trace_sample_ratio))
    provider = TracerProvider(sampler=sampler, resource=Resource.create(names), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    use(provider, messaging="kafka" if settings.kafka_bootstrap else MESSAGING)

    def stop() -> None:
        use(None)
        provider.shutdown()

    return stop


def to_environment(context: TraceContext) -> dict[str, str]:
    """What a child process needs to go on in this trace."""
    named = {_TRACEPARENT: context.traceparent, _REQUEST_ID: context.request_id}
    return {name: value for name, value in named.items() if value}


def from_environment(environment: Mapping[str, str] = os.environ) -> TraceContext:
    """Inverse of `to_environment`."""
    return TraceContext.read(environment.get(_REQUEST_ID), environment.get(_TRACEPARENT))
