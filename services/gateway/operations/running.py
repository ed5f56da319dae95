"""Runs operations in the background: each as the call that it is, for who asked for it.

A service that is away is waited for. A gateway that stops gives its operations back; one that was killed loses them by the
end of their lease. Both ways the next gateway runs them again, where that does no harm.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import structlog
from google.protobuf.message import Message
from sqlalchemy.orm import Session

from services.common.database import Database, now
from services.common.errors import Busy, Cancelled, EngineUnavailable, RegrowError
from services.common.rpc.status import known, to_status
from services.gateway.calls import Calls
from services.gateway.methods import Method
from services.gateway.operations import storage
from services.gateway.operations.rules import (
    MOST_ATTEMPTS,
    RENEW_SECONDS,
    Operation,
    State,
    eligible,
    interrupted,
    is_repeatable,
)

_LONGEST_PAUSE = 30.0
T = TypeVar("T")
log = structlog.get_logger()


class Runner:
    """Belongs to the event loop. `at_once` operations run, the others wait in the order of their arrival."""

    def __init__(self, database: Database, calls: Calls, *, at_once: int, keep: timedelta) -> None:
        self.id = secrets.token_hex(8)
        self._database = database
        self._calls = calls
        self._keep = keep
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Renews leases, cancels what is to be cancelled, takes over what nobody runs, forgets what is old; until cancelled."""
        while True:
            try:
                await self._look()
            except RegrowError as error:
                log.warning("operations can't be looked after", problem=error.message)
            await asyncio.sleep(RENEW_SECONDS)

    def take(self, operation: Operation) -> None:
        """Runs it when its turn comes. It must be leased to this runner."""
        if operation.id in self._tasks:
            return
        task = asyncio.create_task(self._run(operation), name=f"operation-{operation.id}")
        self._tasks[operation.id] = task
        self._ends[operation.id] = asyncio.Event()
        task.add_done_callback(lambda _: self._forget(operation.id))

    def cancel(self, operation_id: str) -> None:
        """Ends one that runs here. It must be marked first."""
        if operation_id in self._tasks:
            self._tasks[operation_id].cancel()

    async def ended(self, operation_id: str, seconds: float) -> None:
        """Returns when it has ended here, or after that time."""
        event = self._ends.get(operation_id)
        try:
            async with asyncio.timeout(seconds):
                await (event.wait() if event is not None else asyncio.sleep(seconds))
        except TimeoutError:
            return

    async def stop(self) -> None:
        """Ends what runs here and gives it back."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._in_session(lambda session: storage.release(session, self.id))
        except RegrowError as error:
            log.warning("operations can't be given back", problem=error.message)

    async def _look(self) -> None:
        def work(session: Session) -> tuple[list[str], list[Operation]]:
            storage.forget(session, now() - self._keep)
            return list(storage.renew(session, self.id)), storage.take_over(session, self.id, most=100)

        to_cancel, taken = await self._in_session(work)
        for operation in taken:
            self.take(operation)
        for operation_id in to_cancel:
            self.cancel(operation_id)

    async def _run(self, operation: Operation) -> None:
        method = eligible()[operation.method]
        try:
            async with self._slots:
                await self._attempts(operation, method)
        except asyncio.CancelledError:
            if not await asyncio.shield(self._end_cancelled(operation)):
                raise

    async def _attempts(self, operation: Operation, method: Method) -> None:
        pause = 0.5
        while True:
            begun = await self._in_session(lambda session: storage.start_attempt(session, operation.id, self.id))
            if begun is None:
                await self._end_cancelled(operation)
                return None
            if begun.attempts > 1 and not is_repeatable(method):
                return await self._fail(operation, interrupted(operation.method[1:]))
            try:
                response = await self._answer(begun, method)
            except RegrowError as error:
                if not (
                    is_repeatable(method) and isinstance(error, EngineUnavailable | Busy) and begun.attempts < MOST_ATTEMPTS
                ):
                    return await self._fail(operation, error)
                await asyncio.sleep(max(pause, error.retry_after.total_seconds()))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return await self._succeed(operation, response)

    async def _answer(self, operation: Operation, method: Method) -> bytes:
        """The call, with its deadline, its line in the log and its count, as if its caller waited."""
        request = method.request.FromString(operation.request)
        with self._calls.opened(method, operation.id, None) as call:
            call.principal, call.request, call.peer = operation.principal, request, lambda: operation.source
            response = await self._calls.answer(method, request, operation.request)
            return response.SerializeToString() if isinstance(response, Message) else response

    async def _end_cancelled(self, operation: Operation) -> bool:
        """Ends one that was to be cancelled; False where it is only this gateway that stops."""

        def work(session: Session) -> bool:
            found = storage.find(session, operation.id)
            if found is None or found.ended is not None or not found.cancelling:
                return False
            status = to_status(
                Cancelled("The operation was cancelled. What was done until then may stand.")
            ).SerializeToString()
            storage.finish(session, operation.id, State.CANCELLED, status=status)
            return True

        return await self._in_session(work)

    async def _succeed(self, operation: Operation, response: bytes) -> None:
        await self._in_session(lambda session: storage.finish(session, operation.id, State.SUCCEEDED, response=response))

    async def _fail(self, operation: Operation, error: RegrowError) -> None:
        status = to_status(known(error, place=operation.method), operation.id).SerializeToString()
        await self._in_session(lambda session: storage.finish(session, operation.id, State.FAILED, status=status))

    def _forget(self, operation_id: str) -> None:
        self._tasks.pop(operation_id, None)
        if (event := self._ends.pop(operation_id, None)) is not None:
            event.set()

    async def _in_session(self, work: Callable[[Session], T]) -> T:
        def run() -> T:
            with self._database.session() as session:
                return work(session)

        return await asyncio.to_thread(run)
