"""Figures that are read when Prometheus asks, and meters around the engines.

Conventions: names begin with `regrow_`, say their unit (`_seconds`, `_bytes`, `_events`) and, as counters, end in `_total`;
the values of every label are fixed by the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import regrow
from services.common.errors import Unavailable

ENGINE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

BUILD = Gauge("regrow_build_info", "Which software runs; always 1.", ["service", "version"])
READY = Gauge("regrow_ready", "Whether the service has all that it needs to work: 1 or 0.", ["service"])
CERTIFICATE_END = Gauge(
    "regrow_certificate_end_seconds",
    "When the certificate in use ends, in seconds since 1970: the service's own, or the gateway's for the public.",
    ["certificate"],
)

log = structlog.get_logger()


def describe_build(service: str) -> None:
    """Tells which version of which service this process is."""
    BUILD.labels(service, regrow.__version__).set(1)


class ReadWhenAsked(Collector):
    """A gauge whose values are read, most often from a database, at each scrape. While that can't be read it is absent.

    `values` are all values of `label`, so that a count of 0 shows, too. Without a label there is one value, under "".
    """

    def __init__(self, name: str, documentation: str, *, label: str = "", values: Sequence[str] = ("",)) -> None:
        self._name, self._documentation, self._label, self._values = name, documentation, label, tuple(values)
        self._read: Callable[[], Mapping[str, float]] = dict
        REGISTRY.register(self)

    def read_by(self, read: Callable[[], Mapping[str, float]]) -> None:
        """From now on; a second call replaces the first."""
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Without values: asking for them is for a scrape."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        try:
            found = self._read()
        except Unavailable:
            return
        except Exception:
            log.exception("a figure can't be read", metric=self._name)
            return
        family = self._family()
        if found:
            for value in self._values:
                family.add_metric([value] if self._label else [], found.get(value, 0))
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=[self._label] if self._label else [])


class Meter:
    """How long the operations of an engine take, and which fail because it can't be reached."""

    def __init__(self, what: str, named: str, label: str) -> None:
        self._seconds = Histogram(f"regrow_{what}_seconds", f"How long {named} take.", [label], buckets=ENGINE_BUCKETS)
        self._errors = Counter(f"regrow_{what}_errors", f"How many {named} failed, as the engine didn't answer.", [label])

    @contextmanager
    def around(self, value: str) -> Iterator[None]:
        """One operation."""
        began = time.perf_counter()
        try:
            yield
        except Unavailable:
            self._errors.labels(value).inc()
            raise
        finally:
            self._seconds.labels(value).observe(time.perf_counter() - began)
