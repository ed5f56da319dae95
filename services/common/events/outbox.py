"""The thread of a transactional outbox: publishes batch after batch, waits for more, and outlasts a log that is down.

What is published is committed already, in the service's own database; `publish` appends one batch to the event log, notes how
far it came, and answers how much it was. So nothing is lost, whatever is killed when, and after a crash the last batch may
come a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from services.common.errors import Unavailable

IDLE_SECONDS = 1.0
"""How soon what another process committed, which can't wake this one, is seen."""
_PATIENCE_SECONDS = 15.0
"""The longest pause between tries at a log that is down."""

log = structlog.get_logger()


class OutboxThread:
    """Publishes from `start` to `stop`. `wake` may be called from any thread. `publish` raises `Unavailable`."""

    def __init__(self, name: str, publish: Callable[[], int]) -> None:
        self._name = name
        self._publish = publish
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Publishes what earlier processes left behind, then what comes."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed."""
        self._changed.set()

    def stop(self) -> None:
        """Publishes what is there, then ends. What a log that is down doesn't take now is published after the next start."""
        self._stopping.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        pause = IDLE_SECONDS
        while True:
            last_round = self._stopping.is_set()
            self._changed.clear()
            pause = IDLE_SECONDS if self._drained() else min(2 * pause, _PATIENCE_SECONDS)
            if last_round:
                return
            self._changed.wait(pause)

    def _drained(self) -> bool:
        """Whether all was published. An error must not end the thread: what waits is in the database."""
        try:
            while self._publish():
                pass
        except Unavailable as error:
            log.warning("events wait for the event log", outbox=self._name, problem=error.message)
            return False
        except Exception:
            log.exception("publishing failed; the events wait", outbox=self._name)
            return False
        return True
