"""Which versions may stay in memory: all, while they fit into the budget; else those that were called last.

Tells when that goes wrong: one version that is larger than the whole budget, or versions that push each other out again
and again, so that calls wait for loads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

import structlog

from services.gateway.inference import meters
from services.gateway.inference.loading import Loaded
from services.gateway.inference.memory import spelled_size, total_bytes

_SOON_SECONDS = 60.0
_MANY_RELOADS = 3

log = structlog.get_logger()


class Residents:
    """Belongs to the event loop. `budget` in bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._evicted: dict[str, float] = {}
        self._reloads: deque[float] = deque(maxlen=100)
        self._alone = False
        meters.BUDGET.set(budget)

    def have_room(self, versions: Sequence[Loaded]) -> bool:
        """Whether one more version of their mean size fits beside these."""
        taken = total_bytes(one.weight for one in versions)
        return not versions or taken + taken / len(versions) <= self.budget

    def too_many(self, versions: list[Loaded], fresh: Loaded) -> Iterator[Loaded]:
        """Those that must go for `fresh` to stay, in order."""
        now, name = time.monotonic(), fresh.target.name
        if now - self._evicted.pop(name, -_SOON_SECONDS) < _SOON_SECONDS:
            self._reloads.append(now)
        staying = sorted(versions, key=lambda one: one.used, reverse=True)
        while total_bytes(one.weight for one in staying) > self.budget and len(staying) > 1:
            least = staying.pop() if staying[-1] is not fresh else staying.pop(-2)
            self._evicted[least.target.name] = now
            meters.EVICTIONS.inc()
            log.info("put to sleep for want of memory", version=least.target.name, bytes=least.weight.total, room_for=name)
            yield least
        self._evicted = {version: at for version, at in self._evicted.items() if now - at < _SOON_SECONDS}
        self.note(staying)

    def note(self, versions: Sequence[Loaded]) -> None:
        """Takes down what is in memory now."""
        taken = total_bytes(one.weight for one in versions)
        if taken > self.budget and not self._alone:
            names = [one.target.name for one in versions]
            log.warning("one model takes more than the memory budget", versions=names, bytes=taken, budget=self.budget)
        self._alone = taken > self.budget
        meters.RESIDENT.set(taken)

    def problem(self) -> str:
        """What an operator should know; empty where all is well."""
        recent = sum(at > time.monotonic() - _SOON_SECONDS for at in self._reloads)
        limit = f"the memory budget of {spelled_size(self.budget)} (REGROW_GATEWAY_MEMORY_BUDGET_BYTES)"
        if self._alone:
            return f"One model alone takes more than {limit}: each call of another pushes it out."
        if recent >= _MANY_RELOADS:
            return (
                f"Models push each other out of memory: {recent} were loaded again within the last minute. Raise {limit},"
                " or serve fewer models here."
            )
        return ""
