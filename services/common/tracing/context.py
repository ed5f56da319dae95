"""What ties work to the call that caused it, in a form that can be kept: in a header, in a column, in an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.common.rpc.principal import current_call

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A request id and, where the request is traced, W3C's `traceparent`. Both may be empty."""

    request_id: str = ""
    traceparent: str = ""

    def __bool__(self) -> bool:
        return bool(self.request_id or self.traceparent)

    @classmethod
    def read(cls, request_id: str | None, traceparent: str | None) -> TraceContext:
        """Of what somebody else wrote: whatever isn't well formed is left out."""
        return cls(
            request_id=request_id if request_id and _REQUEST_ID.fullmatch(request_id) else "",
            traceparent=traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else "",
        )


def current_context() -> TraceContext:
    """Of the call that this thread or task works for; empty outside one."""
    call = current_call()
    if call is None:
        return TraceContext()
    return TraceContext(request_id=call.request_id, traceparent="" if call.span is None else call.span.traceparent)
