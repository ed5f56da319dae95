"""Refusals that come again and again: the first is an event at once, those that follow within a minute are one more, counted.

So a key that is refused in a loop costs two events in its first minute and one in each that follows, not one a call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from services.gateway.audit.rules import AuditEvent

WINDOW_SECONDS = 60.0
_MOST_WINDOWS = 1_000

_Kind = tuple[str, str, str, str]


@dataclass(slots=True)
class _Window:
    """What came of one kind since it was last told, until `ends` on the monotonic clock."""

    ends: float
    calls: int = 0
    last: AuditEvent | None = None

    def add(self, event: AuditEvent) -> None:
        """Counts it. What the events don't have in common, their resource or address, is told of none."""
        self.calls += 1
        if self.last is not None:
            event = replace(
                event,
                resource=_common(event.resource, self.last.resource),
                project=_common(event.project, self.last.project),
                source=_common(event.source, self.last.source) or _common(_host(event.source), _host(self.last.source)),
            )
        self.last = event


def _common(one: str, other: str) -> str:
    return one if one == other else ""


def _host(address: str) -> str:
    """Of `host:port`, or of a host: each connection comes from a port of its own."""
    return re.sub(r"(?<=[\w\]]):\d+$", "", address)


class Repeats:
    """One kind is the same key, method, outcome and reason. Bounded: beyond `most` kinds, the oldest is told early."""

    def __init__(self, *, seconds: float = WINDOW_SECONDS, most: int = _MOST_WINDOWS) -> None:
        self._seconds = seconds
        self._most = most
        self._windows: dict[_Kind, _Window] = {}

    def is_first(self, event: AuditEvent, moment: float) -> bool:
        """Whether it is to be kept by itself; else it is counted."""
        kind = (event.actor.key_id, event.method, event.outcome, event.reason)
        window = self._windows.get(kind)
        if window is None:
            self._windows[kind] = _Window(ends=moment + self._seconds)
            return True
        window.add(event)
        return False

    def due(self, moment: float) -> list[AuditEvent]:
        """The counted ones whose time is over, or that there is no room for."""
        found = []
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if window.ends > moment and len(self._windows) <= self._most:
                break
            del self._windows[kind]
            if window.last is not None:
                found.append(replace(window.last, calls=window.calls))
                if window.ends <= moment:
                    self._windows[kind] = _Window(ends=moment + self._seconds)
        return found

    def rest(self) -> list[AuditEvent]:
        """All that are counted and not told; then there are none."""
        windows, self._windows = self._windows, {}
        return [replace(window.last, calls=window.calls) for window in windows.values() if window.last is not None]

    def seconds_left(self, moment: float) -> float | None:
        """Until something may be due; None where nothing is counted."""
        first = next(iter(self._windows.values()), None)
        return None if first is None else max(0.0, first.ends - moment)
