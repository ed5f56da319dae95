"""Follows the registry: an event is a doorbell, upon which all aliases are read anew; so are they every half minute.

Reading anew instead of applying what the event says makes order, gaps and repeats of events harmless. Readings happen one
after the other in one task, so what is applied last was read last.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import structlog

from services.common import tracing
from services.common.errors import RegrowError
from services.common.events.port import REGISTRY, EventLog
from services.gateway.inference import aliases
from services.gateway.inference.aliases import Aliases, RegistryView

_POLL = timedelta(milliseconds=500)
_AFTER_FAILURE_SECONDS = 1.0

log = structlog.get_logger()


class Follower:
    """Belongs to the event loop, with one thread at the event log."""

    def __init__(
        self, registry: RegistryView, events: EventLog, apply: Callable[[Aliases], None], copy: Path, relist_seconds: float
    ) -> None:
        self._registry = registry
        self._events = events
        self._apply = apply
        self._copy = copy
        self._relist_seconds = relist_seconds
        self._bell = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._saved: Aliases = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._cause = tracing.TraceContext()
        self.problem = "The registry wasn't read yet."
        """Why the last reading failed; empty where it didn't."""
        self.knows_any = False
        """Whether a table is known at all, from the registry or from the copy."""

    def ring(self, cause: tracing.TraceContext | None = None) -> None:
        """Something changed: read soon, for the call that changed it (by default the one at hand)."""
        self._cause = cause or tracing.current_context() or self._cause
        self._bell.set()

    def refresh(self) -> asyncio.Future[None]:
        """Done when a reading that begins after now was applied; fails where that reading fails."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._bell.set()
        return future

    async def run(self) -> None:
        """Runs until cancelled."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._listen, args=(loop,), name="registry-events", daemon=True)
        self._thread.start()
        try:
            while True:
                self._bell.clear()
                cause, self._cause = self._cause, tracing.TraceContext()
                with tracing.caused_by(cause, "follow the registry") if cause else nullcontext():
                    await self._read()
                pause = _AFTER_FAILURE_SECONDS if self.problem else self._relist_seconds
                try:
                    async with asyncio.timeout(pause):
                        await self._bell.wait()
                except TimeoutError:
                    pass
        finally:
            self._stop.set()

    def close(self) -> None:
        """Waits until the thread has left the event log."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def start_from_copy(self) -> None:
        """Serves what was served last, until the registry answers."""
        self._saved = aliases.load(self._copy)
        if self._saved:
            self.knows_any = True
            self._apply(self._saved)

    async def _read(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            table = await self._registry.aliases()
        except RegrowError as error:
            if not self.problem:
                log.warning("the registry can't be read; what is loaded goes on", problem=error.message)
            self.problem = error.message
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        if self.problem:
            log.info("the registry answers", models=len(table))
        self.problem, self.knows_any = "", True
        if table != self._saved:  # kept before it is served: a start from the copy never goes back behind what was served
            await asyncio.to_thread(aliases.save, table, self._copy)
            self._saved = table
        self._apply(table)
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                consumer = self._events.consumer([REGISTRY], start="latest")
                try:
                    loop.call_soon_threadsafe(self._bell.set)  # what happened before we listened
                    while not self._stop.is_set():
                        if records := consumer.poll(timeout=_POLL):
                            loop.call_soon_threadsafe(self.ring, tracing.context_of(records[-1].headers))
                finally:
                    consumer.close()
            except RegrowError as error:
                log.warning("the registry's events can't be read; aliases are listed from time to time", problem=error.message)
                self._stop.wait(2.0)
            except RuntimeError:
                return  # the loop has closed
