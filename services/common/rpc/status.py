"""The one table between the error tree and gRPC's status codes, and its inverse.

An error travels as a `google.rpc.Status` with details: `ErrorInfo` (reason, domain `regrow.dev`, the facts), `BadRequest`
(wrong fields), `RetryInfo`, `RequestInfo`, and where they fit `ResourceInfo`, `PreconditionFailure`, `QuotaFailure` and
`Help`. `from_rpc_error` makes the same error of it again, so what one service says reaches the user through two others
unchanged. `error_body` is the same for REST, as AIP-193 writes it.

An exception outside the tree becomes `InternalFailure`: an id that finds it in the logs, and nothing of its text.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any

import grpc
import structlog
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from services.common import errors
from services.common.errors import EngineUnavailable, FieldProblem, RegrowError
from services.common.rpc.credentials import is_about_certificates
from services.common.rpc.principal import TOKEN_REFUSED

DOMAIN = "regrow.dev"
DETAILS_KEY = "grpc-status-details-bin"
# Clients take 8 KiB of trailers by default; text is percent-encoded (x3) beside the base64 (x1.4) of the whole status.
_MESSAGE_BYTES = 1000
_FACT_BYTES = 200
_MOST_FACTS = 8
_DETAILS_BYTES = 2000

log = structlog.get_logger()


class InternalFailure(RegrowError):
    """Something that nobody foresaw. Made of an unknown exception at the edge; never raised on purpose."""

    reason = "INTERNAL"

    def __init__(self, error_id: str) -> None:
        super().__init__(
            f"Something failed inside Regrow. Its operator finds what in the logs, by the error id '{error_id}'.",
            error_id=error_id,
        )


CODES: dict[type[RegrowError], grpc.StatusCode] = {
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidFields: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.UnreadableFile: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnsafeExpression: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.EtagMismatch: grpc.StatusCode.ABORTED,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Busy: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.EngineUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.OutcomeUnknown: grpc.StatusCode.UNAVAILABLE,
    errors.DigestMismatch: grpc.StatusCode.DATA_LOSS,
    InternalFailure: grpc.StatusCode.INTERNAL,
    # A branch raised as such still says the right thing.
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Missing: grpc.StatusCode.NOT_FOUND,
    errors.Conflicting: grpc.StatusCode.ABORTED,
    errors.NotPossibleNow: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Refused: grpc.StatusCode.PERMISSION_DENIED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Damaged: grpc.StatusCode.DATA_LOSS,
}

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}

_CUT_BY_SERVER = "CANCELLED"
"""What gRPC's core says of a call that came while its server was closing; who cancels a call himself hears other words."""
_CODE_OF_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_LEAF_OF_REASON = {leaf.reason: leaf for leaf in CODES if leaf.reason != RegrowError.reason}
_LEAF_OF_CODE: dict[grpc.StatusCode, type[RegrowError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInput,
    grpc.StatusCode.NOT_FOUND: errors.Missing,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.ABORTED: errors.Conflicting,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Busy,
    grpc.StatusCode.UNAVAILABLE: EngineUnavailable,
    grpc.StatusCode.DATA_LOSS: errors.Damaged,
}


def code_of(error: RegrowError) -> grpc.StatusCode:
    """The code of the error's class, or of the nearest class above it."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), grpc.StatusCode.INTERNAL)


def known(error: BaseException, *, place: str) -> RegrowError:
    """The error itself where it is of the tree; else a failure that says nothing, logged whole under its new id."""
    if isinstance(error, RegrowError):
        return error
    if isinstance(error, grpc.RpcError) and callable(getattr(error, "code", None)):
        return from_rpc_error(error)
    failure = InternalFailure(secrets.token_hex(8))
    log.error("unexpected", error_id=failure.facts["error_id"], place=place, exc_info=error)
    return failure


def to_status(error: RegrowError, request_id: str = "", help_url: str = "") -> status_pb2.Status:
    """The error as it goes over the wire. Long texts are cut so that the whole fits in any client's header limit."""
    status = status_pb2.Status(code=code_of(error).value[0], message=_cut(error.message, _MESSAGE_BYTES))
    facts = {key: _cut(value, _FACT_BYTES) for key, value in islice(error.facts.items(), _MOST_FACTS)}
    _add(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts))
    retry_after: timedelta | None = getattr(error, "retry_after", None)
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(retry_after)
        _add(status, retry)
    if request_id:
        _add(status, error_details_pb2.RequestInfo(request_id=request_id))
    if problems := getattr(error, "problems", ()):
        _add(status, _bad_request(problems, _DETAILS_BYTES))
    for told in _about(error, facts):
        _add(status, told)
    if help_url:
        _add(status, error_details_pb2.Help(links=[error_details_pb2.Help.Link(description="This call", url=help_url)]))
    return status


def _about(error: RegrowError, facts: dict[str, str]) -> Iterator[Message]:
    """What else the standard details can say: which resource, which condition, which quota."""
    message = _cut(error.message, 2 * _FACT_BYTES)
    if isinstance(error, errors.Missing | errors.Conflicting) and "name" in facts:
        yield error_details_pb2.ResourceInfo(
            resource_type=facts.get("kind", ""), resource_name=facts["name"], description=message
        )
    if isinstance(error, errors.FailedPrecondition):
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason, subject=facts.get("name", ""), description=message
        )
        yield error_details_pb2.PreconditionFailure(violations=[violation])
    if isinstance(error, errors.QuotaExceeded):
        over = error_details_pb2.QuotaFailure.Violation(subject=facts.get("who", ""), description=facts.get("quota", ""))
        yield error_details_pb2.QuotaFailure(violations=[over])


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """The status that a call ended with, sync or asyncio; without details where the server sent none."""
    code = error.code()
    trailers: Any = error.trailing_metadata() or ()
    try:
        status = status_pb2.Status.FromString(dict(trailers).get(DETAILS_KEY, b""))
    except DecodeError:
        status = status_pb2.Status()
    if status.code == code.value[0]:
        return status
    return status_pb2.Status(code=code.value[0], message=error.details() or "")


def from_rpc_error(error: grpc.RpcError, service: str = "") -> RegrowError:
    """The error that the other side raised; `service` names it where it said nothing itself (it is down, or too slow)."""
    return from_status(status_of(error), service)


def from_status(status: status_pb2.Status, service: str = "") -> RegrowError:
    """The inverse of `to_status`: class, reason, message, facts, wrong fields and time to come back."""
    info = detail(status, error_details_pb2.ErrorInfo())
    if info is None or info.domain != DOMAIN:
        return _without_details(status, service)
    if info.reason == TOKEN_REFUSED:
        log.error("internal token refused", service=service, cure="set the same REGROW_INTERNAL_TOKEN for all services")
        return InternalFailure(secrets.token_hex(8))
    code = _CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    error = _made(_LEAF_OF_REASON.get(info.reason) or _LEAF_OF_CODE.get(code, InternalFailure), status)
    error.facts = dict(info.metadata)
    error.reason = info.reason
    return error


def detail(status: status_pb2.Status, empty: Any) -> Any:
    """The status's detail of the type of `empty`, unpacked into it; None where there is none."""
    return next((empty for one in status.details if one.Is(empty.DESCRIPTOR) and one.Unpack(empty)), None)


def http_status(status: status_pb2.Status) -> int:
    """By gRPC's own mapping, but 413 for what is over a size limit, which coming back later doesn't cure."""
    info = detail(status, error_details_pb2.ErrorInfo())
    if info is not None and info.reason == errors.TooLarge.reason:
        return 413
    return HTTP_STATUS[_CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)]


def error_body(status: status_pb2.Status) -> dict[str, Any]:
    """AIP-193's JSON: `{"error": {"code": 404, "status": "NOT_FOUND", "message": ..., "details": [...]}}`."""
    code = _CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    body = {"code": http_status(status), "status": code.name, "message": status.message, "details": list(_as_json(status))}
    return {"error": body}


@contextmanager
def calling(service: str = "") -> Iterator[None]:
    """Turns the `RpcError` of a call inside the block, sync or asyncio, into the error that the other side raised."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, service) from error


def _without_details(status: status_pb2.Status, service: str) -> RegrowError:
    name = service or "a service"
    code = _CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.UNAVAILABLE:
        trusted = not is_about_certificates(status.message)
        return EngineUnavailable(name, "it doesn't answer" if trusted else "it shows no certificate that is trusted here")
    if code is grpc.StatusCode.CANCELLED and status.message == _CUT_BY_SERVER:
        return EngineUnavailable(name, "it is stopping")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return EngineUnavailable(name, "it didn't answer in time")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in status.message:
        return _made(errors.TooLarge, status)
    if code not in _LEAF_OF_CODE:
        failure = InternalFailure(secrets.token_hex(8))
        log.error("call failed", error_id=failure.facts["error_id"], service=service, code=code.name, message=status.message)
        return failure
    return _made(_LEAF_OF_CODE[code], status)


def _made(kind: type[RegrowError], status: status_pb2.Status) -> RegrowError:
    """An error of this class around its finished message: leaves word their own message from facts, so no `__init__`."""
    error: Any = kind.__new__(kind)
    RegrowError.__init__(error, status.message)
    if retry := detail(status, error_details_pb2.RetryInfo()):
        error.retry_after = retry.retry_delay.ToTimedelta()
    elif issubclass(kind, errors.Busy | errors.QuotaExceeded | EngineUnavailable | errors.OutcomeUnknown):
        error.retry_after = timedelta(seconds=2)
    if issubclass(kind, errors.InvalidField | errors.InvalidFields):
        bad = detail(status, error_details_pb2.BadRequest()) or error_details_pb2.BadRequest()
        error.problems = tuple(FieldProblem(field=one.field, problem=one.description) for one in bad.field_violations)
    made: RegrowError = error
    return made


def _bad_request(problems: Iterable[FieldProblem], budget: int) -> error_details_pb2.BadRequest:
    """As many problems as fit, and how many more there are."""
    bad = error_details_pb2.BadRequest()
    left_out = 0
    for problem in problems:
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(problem.field, _FACT_BYTES), description=_cut(problem.problem, 2 * _FACT_BYTES)
        )
        if left_out or bad.ByteSize() + one.ByteSize() > budget:
            left_out += 1
        else:
            bad.field_violations.append(one)
    if left_out:
        bad.field_violations.add(field="", description=f"and {left_out} more")
    return bad


def _as_json(status: status_pb2.Status) -> Iterator[dict[str, Any]]:
    for one in status.details:
        try:
            yield json_format.MessageToDict(one)
        except (TypeError, DecodeError):
            continue  # a type that this program doesn't know


def _add(status: status_pb2.Status, message: Message) -> None:
    status.details.add().Pack(message)


def _cut(text: str, limit: int) -> str:
    content = text.encode("utf-8", "replace")
    return content.decode() if len(content) <= limit else content[: limit - 3].decode(errors="ignore") + "..."
