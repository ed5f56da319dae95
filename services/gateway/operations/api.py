"""`OperationService` and `google.longrunning.Operations`: proto in, proto out, and what REST asks for by `Prefer`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.longrunning import operations_pb2 as pb
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from sqlalchemy.orm import Session

from regrow.gateway.v1 import operations_pb2
from services.common.database import Database, now
from services.common.durations import span
from services.common.errors import Busy, InvalidField, RequestIdReused
from services.common.listing import Asked
from services.common.names import parse
from services.common.rpc.principal import Principal, current_call, current_principal, seconds_left
from services.gateway.audit.rules import address_of
from services.gateway.calls import Calls, Local
from services.gateway.methods import Method
from services.gateway.operations import storage
from services.gateway.operations.rules import (
    LEASE,
    OPERATION,
    Operation,
    State,
    eligible,
    method_named,
    new_id,
    with_request_id,
)
from services.gateway.operations.running import Runner
from services.gateway.policy import RULES, check_role, project_in

_PROJECT = "projects/{project}"
_COME_BACK = timedelta(seconds=10)
_LOOK_SECONDS = 1.0
_MARGIN_SECONDS = 1.0
T = TypeVar("T")


class Operations:
    """Belongs to the event loop; the database is read and written in threads."""

    def __init__(self, database: Database, calls: Calls, runner: Runner, *, most_waiting: int, keep: timedelta) -> None:
        self._database = database
        self._calls = calls
        self._runner = runner
        self._most_waiting = most_waiting
        self._keep = keep

    def local_calls(self) -> Mapping[str, Local]:
        """The handlers by gRPC path."""
        standard = "/google.longrunning.Operations/"
        return {
            "/regrow.gateway.v1.OperationService/StartOperation": self.start_named,
            f"{standard}GetOperation": self.get,
            f"{standard}ListOperations": self.list_operations,
            f"{standard}CancelOperation": self.cancel,
            f"{standard}DeleteOperation": self.delete,
            f"{standard}WaitOperation": self.wait,
        }

    async def start_named(self, request: operations_pb2.StartOperationRequest) -> pb.Operation:
        """A call named by its method. It is admitted as it would be at its own door."""
        method, principal = method_named(request.method), current_principal()
        check_role(RULES[method.path], principal)
        inner = _unpacked(request, method)
        await self._calls.admit(method, inner, principal, size=len(request.request.value))
        project = parse(_PROJECT, request.parent, "parent")["project"]
        if project_in(RULES[method.path], inner) != project:
            raise InvalidField("request", f"is about another project than '{request.parent}'.")
        return self._proto(await self.start(method, inner, principal))

    async def start(self, method: Method, request: Message, principal: Principal) -> Operation:
        """Keeps an admitted call and lets it run; the same one again for a repeated request id.

        Raises `Busy` where too many wait, `RequestIdReused`.
        """
        complete, request_id, given = with_request_id(method, request)
        project = project_in(RULES[method.path], complete)
        asked = Operation(
            id=new_id(project, method.path, request_id, given=given), project=project, method=method.path,
            request=complete.SerializeToString(deterministic=True), request_id=request_id, principal=principal,
            state=State.WAITING, created=now(), runner=self._runner.id, lease=now() + LEASE, source=_source(),
        )  # fmt: skip
        kept = await self._in_session(lambda session: self._keep_new(session, asked))
        if kept.runner == self._runner.id and kept.ended is None:
            self._runner.take(kept)
        return kept

    async def get(self, request: pb.GetOperationRequest) -> pb.Operation:
        """As it is now."""
        return self._proto(await self._read(request.name))

    async def list_operations(self, request: pb.ListOperationsRequest) -> pb.ListOperationsResponse:
        """A page, newest first."""
        project = parse(_PROJECT, request.name)["project"]
        ask = Asked(size=request.page_size, token=request.page_token, filter=request.filter)
        found, token = await self._in_session(lambda session: storage.page(session, project, ask))
        return pb.ListOperationsResponse(operations=map(self._proto, found), next_page_token=token)

    async def cancel(self, request: pb.CancelOperationRequest) -> Empty:
        """Marks it, and ends it at once where it runs here."""
        ids = parse(OPERATION, request.name)
        await self._in_session(lambda session: storage.ask_to_cancel(session, ids["project"], ids["operation"]))
        self._runner.cancel(ids["operation"])
        return Empty()

    async def delete(self, request: pb.DeleteOperationRequest) -> Empty:
        """Forgets it."""
        ids = parse(OPERATION, request.name)
        await self._in_session(lambda session: storage.remove(session, ids["project"], ids["operation"]))
        return Empty()

    async def wait(self, request: pb.WaitOperationRequest) -> pb.Operation:
        """The operation when it has ended, or as it is when the time is over. No time given: as long as the call may take."""
        wished = span(request.timeout, "timeout").total_seconds() if request.HasField("timeout") else None
        most = max((seconds_left() or _LOOK_SECONDS) - _MARGIN_SECONDS, 0.0)
        return self._proto(await self.await_end(request.name, most if wished is None else min(max(wished, 0.0), most)))

    async def await_end(self, name: str, seconds: float) -> Operation:
        """The operation when it has ended, or as it is after so many seconds. Raises `NotFound`."""
        give_up = time.monotonic() + seconds
        while True:
            found = await self._read(name)
            left = give_up - time.monotonic()
            if found.ended is not None or left <= 0:
                return found
            await self._runner.ended(found.id, min(left, _LOOK_SECONDS))

    def proto(self, operation: Operation) -> pb.Operation:
        """As callers see it."""
        return self._proto(operation)

    def _keep_new(self, session: Session, asked: Operation) -> Operation:
        known = storage.find(session, asked.id)
        if known is not None:
            if known.request != asked.request:
                raise RequestIdReused(asked.request_id)
            return known
        if storage.waiting(session) >= self._most_waiting:
            raise Busy("Too many operations wait. Come back when some have ended.", retry_after=_COME_BACK)
        storage.add(session, asked)
        return asked

    async def _read(self, name: str) -> Operation:
        ids = parse(OPERATION, name)
        return await self._in_session(lambda session: storage.read(session, ids["project"], ids["operation"]), reading=True)

    def _proto(self, operation: Operation) -> pb.Operation:
        message = pb.Operation(name=operation.name, done=operation.ended is not None)
        metadata = operations_pb2.OperationMetadata(
            method=operation.method[1:], state=f"OPERATION_STATE_{operation.state.upper()}", request_id=operation.request_id,
            created_by=operation.principal.name or operation.principal.key_id, attempts=operation.attempts,
        )  # fmt: skip
        _stamp(metadata.create_time, operation.created)
        _stamp(metadata.start_time, operation.started)
        _stamp(metadata.end_time, operation.ended)
        _stamp(metadata.expire_time, None if operation.ended is None else operation.ended + self._keep)
        message.metadata.Pack(metadata)
        if operation.status is not None:
            message.error.CopyFrom(Status.FromString(operation.status))
        elif operation.response is not None:
            kind = eligible()[operation.method].response.DESCRIPTOR.full_name
            message.response.type_url, message.response.value = f"type.googleapis.com/{kind}", operation.response
        return message

    async def _in_session(self, work: Callable[[Session], T], *, reading: bool = False) -> T:
        def run() -> T:
            with self._database.reading() if reading else self._database.session() as session:
                return work(session)

        return await asyncio.to_thread(run)


def _unpacked(request: operations_pb2.StartOperationRequest, method: Method) -> Message:
    """Raises `InvalidField` for another message than the method's."""
    inner = method.request()
    try:
        fits = request.request.Unpack(inner)
    except DecodeError:
        fits = False
    if not fits:
        kind = method.request.DESCRIPTOR.full_name
        raise InvalidField("request", f"isn't a {kind}: its '@type' is 'type.googleapis.com/{kind}'.")
    return inner


def _source() -> str:
    """Where the call that runs now came from."""
    call = current_call()
    return "" if call is None else address_of(call.peer())


def _stamp(field: Any, moment: datetime | None) -> None:
    if moment is not None:
        field.FromDatetime(moment)
