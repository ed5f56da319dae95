"""Whether the first of several quick calls should wait for the others, learned from what waiting brought. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FAST_SECONDS = 0.001
"""Calls that come sooner after each other may wait for company."""
WORTH_CALLS = 3
"""A wait pays where at least so many share it: fewer are answered sooner one by one."""
_LONGEST_PAUSE = 64


@dataclass(slots=True)
class Pace:
    """How fast calls for a version come, and what waiting for them brought. `pause`: batches to go before the next wait."""

    last: float = 0.0
    pause: int = 0
    penalty: int = 1

    def wait(self, now: float) -> bool:
        """Whether the first call of a batch should wait for others."""
        gap, self.last = now - self.last, now
        if self.pause:
            self.pause -= 1
            return False
        return gap < FAST_SECONDS

    def learn(self, waited: bool, calls: int) -> None:
        """From a batch: waiting pays, or it doesn't, or as many come without."""
        if calls >= WORTH_CALLS:
            self.penalty = 1
            self.pause = 0 if waited else WORTH_CALLS
        elif waited:
            self.penalty = min(2 * self.penalty, _LONGEST_PAUSE)
            self.pause = self.penalty
