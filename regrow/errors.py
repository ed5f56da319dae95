"""What a call to Regrow can fail with: one exception that carries all that the server said.

try:
    client.predict("projects/default/models/spam", rows)
except regrow.CallError as error:
    error.code          # "NOT_FOUND": the gRPC status
    error.reason        # "NOT_FOUND", "NO_FEEDBACK", ...: switch on this
    error.message       # a sentence that says what was wrong and what to do
    error.fields        # {"rows[0].age": "'old' is not a number"}
    error.retry_after   # seconds to wait, where the server said so
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

NOT_GRPC = "NOT_GRPC"
"""The reason of a call to a port where something else than gRPC answers, such as Regrow's REST."""
_OF_HTTP_1 = ("http1.x", "failed parsing http/2", "alpn")
"""How gRPC tells that what answered speaks HTTP/1.1, plain or over TLS."""
_ABOUT_CERTIFICATES = ("handshake", "ssl_error", "verification check")


@dataclass(eq=False)
class CallError(Exception):
    """A call that the server refused or that did not reach it. `code` is the gRPC status name."""

    code: str
    message: str
    reason: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    request_id: str = ""

    def __str__(self) -> str:
        return self.message


def from_rpc_error(error: grpc.RpcError, *, address: str = "") -> CallError:
    """Reads the rich status of a failed call; a server that can't be reached gets a message that says how to start one."""
    if not callable(getattr(error, "code", None)):
        return CallError(code="UNKNOWN", message=str(error))
    call: Any = error
    code, details = call.code().name, call.details() or ""
    result = CallError(code=code, message=details or f"The call failed with {code}.")
    status = _rich_status(error)
    if status is not None:
        for detail in status.details:
            _read_detail(detail, result)
    elif code == "UNAVAILABLE":
        where = address or "this address"
        if any(words in details.lower() for words in _OF_HTTP_1):
            result.reason = NOT_GRPC
            result.message = (
                f"{where} answers, but doesn't speak gRPC: it looks like the port of REST. Name the one of gRPC, host:port,"
                " usually port 8081 where REST has 8080; `regrow up` and `regrow login --check` print both."
            )
            return result
        if any(words in details.lower() for words in _ABOUT_CERTIFICATES):
            result.message = (
                f"{where} shows no certificate that is trusted here, or speaks without TLS. Name its authority: --ca-file of"
                " `regrow login`, ca_file= or REGROW_CA_FILE."
            )
            return result
        tls = "" if "://" in where or not address else f" If it speaks TLS, its address is https://{where}."
        result.message = f"No Regrow answers at {where}. Start one with `regrow up`, or name another with `regrow login`.{tls}"
    elif code == "DEADLINE_EXCEEDED":
        result.message = f"{address or 'The server'} did not answer in time. Try again, or allow more with `timeout=`."
    return result


def from_status(status: status_pb2.Status) -> CallError:
    """The same of a status that came in an answer, as an operation's does."""
    name = next((code.name for code in grpc.StatusCode if code.value[0] == status.code), "UNKNOWN")
    result = CallError(code=name, message=status.message or f"The call failed with {name}.")
    for detail in status.details:
        _read_detail(detail, result)
    return result


def _rich_status(error: Any) -> status_pb2.Status | None:
    """None where the status came from the channel or from something that isn't Regrow."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
    except ValueError:
        return None
    return status


def _read_detail(detail: object, result: CallError) -> None:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry, request = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
    unpack = detail.Unpack  # type: ignore[attr-defined]
    if unpack(info):
        result.reason, result.facts = info.reason, dict(info.metadata)
    elif unpack(bad):
        result.fields = {v.field: v.description for v in bad.field_violations}
    elif unpack(retry):
        result.retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    elif unpack(request):
        result.request_id = request.request_id
