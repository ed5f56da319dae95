"""What a REST caller prefers (RFC 7240): `Prefer: respond-async`, and `wait=<seconds>` for how long it would wait at most."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Preference:
    """Answer by an operation, after waiting so many seconds for the end of the call."""

    wait: float = 0.0

    @property
    def applied(self) -> bytes:
        """As `Preference-Applied` says it."""
        return b"respond-async" + (b", wait=%d" % self.wait if self.wait else b"")


def preferred(header: str) -> Preference | None:
    """None where `respond-async` isn't among the preferences. Others are passed over, as the RFC wants."""
    words = [word.strip().lower() for part in header.split(",") for word in part.split(";")[:1]]
    if "respond-async" not in words:
        return None
    waits = [word.removeprefix("wait=").strip('"') for word in words if word.startswith("wait=")]
    seconds = float(waits[0]) if waits and waits[0].isdigit() and len(waits[0]) < 6 else 0.0
    return Preference(min(seconds, LONGEST_WAIT))
