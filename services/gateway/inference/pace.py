"""Whether the first of several quick calls should wait for the others, and for how many, learned from what came. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FAST_SECONDS = 0.0005
"""Calls that come sooner after each other, on average, may wait for company."""
WORTH_CALLS = 3
"""A wait pays where at least so many share it: fewer are answered sooner one by one."""
_LONGEST_PAUSE = 64
_LOOK_ANEW = 16
"""After so many waits that ended as enough had come, one sees how many come at all."""


@dataclass(slots=True)
class Pace:
    """How fast calls for a version come, and what waiting for them brought. `pause`: batches to go before the next wait."""

    began: float = float("-inf")
    """When the batch before this one began, and (`calls`) how many it had."""
    calls: int = 1
    enough: int = 0
    """As many as came the last time: a wait is over once they are there. 0: not known, so it lasts as long as it may."""
    sated: int = 0
    pause: int = 0
    penalty: int = 1

    def wait(self, now: float) -> bool:
        """Whether the first call of a batch, which comes now, should wait for others."""
        fast = now - self.began < self.calls * FAST_SECONDS
        self.began = now
        if self.pause:
            self.pause -= 1
            return False
        return fast

    def learn(self, waited: bool, calls: int) -> None:
        """From a batch: waiting pays, or it doesn't."""
        self.calls = calls
        if not waited:
            return
        if calls < WORTH_CALLS:
            self.penalty = min(2 * self.penalty, _LONGEST_PAUSE)
            self.pause, self.enough, self.sated = self.penalty, 0, 0
            return
        self.penalty = 1
        self.sated = self.sated + 1 if self.enough and calls >= self.enough else 0
        self.enough = 0 if self.sated >= _LOOK_ANEW else calls
