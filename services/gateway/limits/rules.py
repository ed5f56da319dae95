"""The limits of a key, a token bucket for its rate, and the account of what it used today.

A bucket holds `burst` tokens and gains `calls_per_second` of them each second; a call takes one. An account counts rows and
feedback of one UTC day: what the database knows of all gateways, and what this one hasn't written yet.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from services.common.errors import InvalidField, QuotaExceeded
from services.common.rpc.principal import Principal

NumberT = TypeVar("NumberT", int, float)
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None leaves it to the settings, 0 is no limit. `burst` is how many calls may come at once; 0 is one second's."""

    calls_per_second: float | None = None
    burst: int | None = None
    rows_per_day: int | None = None
    feedback_per_day: int | None = None

    def over(self, defaults: Limits) -> Limits:
        """These, and the defaults where these say nothing."""
        return Limits(
            calls_per_second=_first(self.calls_per_second, defaults.calls_per_second),
            burst=_first(self.burst, defaults.burst),
            rows_per_day=_first(self.rows_per_day, defaults.rows_per_day),
            feedback_per_day=_first(self.feedback_per_day, defaults.feedback_per_day),
        )


@dataclass(slots=True, kw_only=True)
class Used:
    """Rows and feedback."""

    rows: int = 0
    feedback: int = 0


class Account:
    """Of one key, or one subject of a token, in this gateway. Belongs to the event loop."""

    __slots__ = ("_at", "_tokens", "burst", "day", "known", "limits", "principal", "rate", "unwritten")

    def __init__(self, principal: Principal, limits: Limits, known: Used, day: int) -> None:
        self._tokens, self._at = math.inf, time.monotonic()
        self.known, self.unwritten, self.day = known, Used(), day
        self.set_limits(principal, limits)

    def set_limits(self, principal: Principal, limits: Limits) -> None:
        """Other limits from now on; what was used stays used."""
        self.principal, self.limits = principal, limits
        self.rate = limits.calls_per_second or 0.0
        self.burst = limits.burst or max(1, math.ceil(self.rate))
        self._tokens = min(self._tokens, self.burst)

    def take_call(self) -> None:
        """Raises `QuotaExceeded` where the key calls too often."""
        if not self.rate:
            return
        tokens = self._tokens_now()
        if tokens < 1.0:
            wait = timedelta(seconds=(1.0 - tokens) / self.rate)
            self._refuse(f"{_counted(self.rate, 'call')} a second", wait, "Call less often.", self.standing())
        self._tokens = tokens - 1.0

    def spend(self, *, rows: int = 0, feedback: int = 0) -> None:
        """Counts what is about to be done. Raises `QuotaExceeded`, and then nothing was counted."""
        limits, known, own = self.limits, self.known, self.unwritten
        if rows and limits.rows_per_day and known.rows + own.rows + rows > limits.rows_per_day:
            self._refuse(f"{_counted(limits.rows_per_day, 'row')} a day", until_midnight(), _ASK)
        if feedback and limits.feedback_per_day and known.feedback + own.feedback + feedback > limits.feedback_per_day:
            self._refuse(f"{_counted(limits.feedback_per_day, 'piece')} of feedback a day", until_midnight(), _ASK)
        own.rows += rows
        own.feedback += feedback

    def give_back(self, *, rows: int = 0, feedback: int = 0) -> None:
        """What was counted came to nothing."""
        self.unwritten.rows -= rows
        self.unwritten.feedback -= feedback

    def standing(self) -> tuple[int, int, int]:
        """Of the bucket: how many calls it holds, how many are left, and the seconds until it is full."""
        tokens = self._tokens_now()
        return self.burst, max(0, int(tokens)), math.ceil((self.burst - tokens) / self.rate) if self.rate else 0

    def _tokens_now(self) -> float:
        moment = time.monotonic()
        self._tokens = min(float(self.burst), self._tokens + (moment - self._at) * self.rate)
        self._at = moment
        return self._tokens

    def _refuse(self, quota: str, retry_after: timedelta, cure: str, standing: tuple[int, int, int] | None = None) -> None:
        who = self.principal.name or self.principal.key_id
        raise QuotaExceeded(who, quota, retry_after=retry_after, cure=cure, standing=standing)


def _counted(number: float, noun: str) -> str:
    """`1 call`, `0.5 calls`, `1,000 calls`."""
    return f"{number:,.12g} {noun}{'' if number == 1 else 's'}"


_ASK = "The count starts anew at midnight UTC; an admin can raise it."


def checked(limits: Limits, field: str) -> Limits:
    """Raises `InvalidField`."""
    for name in ("calls_per_second", "burst", "rows_per_day", "feedback_per_day"):
        value = getattr(limits, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidField(f"{field}.{name}", f"must be 0 (no limit) or more, not {value}.")
    return limits


def today() -> int:
    """The day in UTC, counted from 1970."""
    return int(time.time()) // DAY_SECONDS


def until_midnight() -> timedelta:
    """Until the next day in UTC begins."""
    return timedelta(seconds=DAY_SECONDS - int(time.time()) % DAY_SECONDS)


def _first(value: NumberT | None, other: NumberT | None) -> NumberT | None:
    return other if value is None else value
