"""How many rows of one version are worth computing together, and how long to wait for more: fitted to what it took before.

The time of a batch is taken for a line, `t = a*n + b` over its rows `n` (Crankshaw et al. 2017, "Clipper"; BentoML's CORK
fits the same by least squares). `b` is what batching saves, once for each call that joins; where it isn't positive (a
transformer on long texts), batches aren't made. Waiting costs every waiting call the time until the next one comes and saves
`b` once, so it goes on only while `calls * gap < b`: a lone call is never held up, and nobody waits longer than `b`.

Pure: times come from outside.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_SAMPLES = 50
_SAMPLE_SECONDS = 60.0
_FIXED_SHARE = 0.05
"""A batch grows until what it saves is less than this share of its time: larger ones only make callers wait."""
_LEARNING = 0.2
_SHORTEST_SECONDS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`t = per_row * n + fixed`, in seconds. `known` where batches of several sizes were measured."""

    per_row: float
    fixed: float
    known: bool


class Window:
    """The measurements of one version, at most 50 and none older than a minute. Not for several threads at once."""

    def __init__(self, *, most_rows: int) -> None:
        self._most_rows = most_rows
        self._samples: deque[tuple[float, int, float]] = deque(maxlen=_SAMPLES)
        self._line: Line | None = None
        self._gap: float | None = None
        self._last_arrival: float | None = None

    @property
    def line(self) -> Line | None:
        """The fit; None before the first measurement."""
        return self._line

    def measured(self, rows: int, seconds: float, now: float) -> None:
        """Learns what a batch took."""
        self._samples.append((now, rows, seconds))
        self._fit(now)

    def arrived(self, now: float) -> None:
        """Learns how fast calls come, from each one."""
        if self._samples and self._samples[0][0] < now - _SAMPLE_SECONDS:
            self._fit(now)
        if self._last_arrival is not None:
            gap = now - self._last_arrival
            self._gap = gap if self._gap is None else self._gap + _LEARNING * (gap - self._gap)
        self._last_arrival = now

    def _fit(self, now: float) -> None:
        while self._samples and self._samples[0][0] < now - _SAMPLE_SECONDS:
            self._samples.popleft()
        self._line = fitted([(n, t) for _, n, t in self._samples]) if self._samples else None

    def seconds(self, rows: int) -> float:
        """What a batch of so many rows will take; 0 while nothing is known."""
        return 0.0 if self._line is None else max(0.0, self._line.per_row * rows + self._line.fixed)

    def rows(self) -> int:
        """The most rows that a batch of several calls is worth."""
        line = self._line
        if line is None or not line.known:
            return self._most_rows  # whoever waits anyway is computed together, and the line is known
        if line.fixed <= 0:
            return 1
        if line.per_row <= 0:
            return self._most_rows
        return max(1, min(self._most_rows, int(line.fixed / (line.per_row * _FIXED_SHARE))))

    def wait(self, calls: int, now: float) -> float:
        """Seconds that `calls` waiting calls should wait for another one; 0 is to begin."""
        line = self._line
        if line is None or not line.known or line.fixed <= 0 or self._gap is None or self._last_arrival is None:
            return 0.0
        since = now - self._last_arrival
        if calls * max(self._gap, since) >= line.fixed:
            return 0.0
        return line.fixed / calls - since


def fitted(samples: list[tuple[int, float]]) -> Line:
    """Least squares of relative errors over `(rows, seconds)`. Where all have the same rows, all of the time is the rows' own.

    Relative, for the times differ by orders of magnitude, and so do their errors: what a batch of 10,000 rows took longer by
    chance would else pass for a fixed time that each small one needs.
    """
    rows, seconds = [n for n, _ in samples], [t for _, t in samples]
    if len(set(rows)) == 1:
        return Line(per_row=sum(seconds) / len(samples) / rows[0], fixed=0.0, known=False)
    weighed = [(1.0 / max(t, _SHORTEST_SECONDS) ** 2, n, t) for n, t in samples]
    whole = sum(w for w, _, _ in weighed)
    mean_rows, mean_seconds = sum(w * n for w, n, _ in weighed) / whole, sum(w * t for w, _, t in weighed) / whole
    spread = sum(w * (n - mean_rows) ** 2 for w, n, _ in weighed)
    per_row = max(0.0, sum(w * (n - mean_rows) * (t - mean_seconds) for w, n, t in weighed) / spread)
    return Line(per_row=per_row, fixed=mean_seconds - per_row * mean_rows, known=True)
