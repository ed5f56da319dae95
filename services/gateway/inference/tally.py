"""What a version did since it was loaded: how often, for how long, of how many rows. Kept on the event loop alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(slots=True)
class Spent:
    """How often something was done, and the nanoseconds that it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Once more."""
        self.count += 1
        self.ns += ns


class Timed(NamedTuple):
    """Moments of one computation in nanoseconds (`time.perf_counter_ns`): its begin, when its columns were read, its end."""

    began: int
    read: int
    ended: int


@dataclass(slots=True)
class Tally:
    """`succeeded` and `failed` are requests from arrival to answer, the others their parts."""

    succeeded: Spent = field(default_factory=Spent)
    failed: Spent = field(default_factory=Spent)
    queued: Spent = field(default_factory=Spent)
    read: Spent = field(default_factory=Spent)
    computed: Spent = field(default_factory=Spent)
    rows: int = 0
    executions: int = 0
    last_ms: int = 0
    """When it answered last, in milliseconds since 1970; 0 for never."""
    batches: dict[int, tuple[Spent, Spent]] = field(default_factory=dict)
    """By rows of a computation: reading, and computing."""

    @property
    def answered(self) -> Spent:
        """Making answers: what is left of the time of those that succeeded."""
        ns = self.succeeded.ns - self.queued.ns - self.read.ns - self.computed.ns
        return Spent(self.succeeded.count, max(0, ns))

    def answer(self, arrived: int, rows: int) -> None:
        """Counts a request that was answered."""
        self.succeeded.add(time.perf_counter_ns() - arrived)
        self.rows += rows
        self.last_ms = time.time_ns() // 1_000_000

    def execute(self, arrivals: Sequence[int], rows: int, timed: Timed) -> None:
        """Counts a computation for requests that arrived then: each was computed as long as all of them."""
        reading, computing = timed.read - timed.began, timed.ended - timed.read
        for arrived in arrivals:
            self.queued.add(timed.began - arrived)
            self.read.add(reading)
            self.computed.add(computing)
        self.executions += 1
        batch = self.batches.get(rows)
        if batch is None:
            batch = self.batches[rows] = (Spent(), Spent())
        batch[0].add(reading)
        batch[1].add(computing)

    def fail(self, arrived: int) -> None:
        """Counts a request that came to nothing."""
        self.failed.add(time.perf_counter_ns() - arrived)
