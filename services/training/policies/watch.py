"""The thread that looks at the policies: when feedback was counted, and every second for those that go by age."""

from __future__ import annotations

import threading

import structlog

from services.common.errors import Unavailable
from services.common.tracing import TraceContext
from services.training.policies.counting import Causes
from services.training.policies.handlers import Policies

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 1.0


class PolicyWatch:
    """Starts what fires. No error ends it."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._causes: dict[str, TraceContext] = {}
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="policies", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def wake(self, causes: Causes) -> None:
        """Something was counted. Safe from any thread."""
        self._causes = {**self._causes, **causes}
        self._wake.set()

    def stop(self) -> None:
        """Ends the looking."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(_LOOK_EVERY_SECONDS)
            self._wake.clear()
            try:
                self._policies.look(self._causes)
            except Unavailable as error:
                log.warning("policies wait", problem=error.message)
            except Exception:
                log.exception("looking at the policies failed")
