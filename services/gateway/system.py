"""How the system is: `GetStatus` for people, `/readyz` for load balancers and the launcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import regrow
from regrow.gateway.v1 import gateway_pb2
from services.common.errors import RegrowError
from services.common.events.lag import READERS, lag_of
from services.common.events.port import EventLog
from services.common.metering import READY
from services.common.rpc.principal import Principal, current_principal
from services.gateway.inference.aliases import project_of
from services.gateway.inference.batching import Batches
from services.gateway.inference.following import Follower
from services.gateway.inference.memory import total_bytes
from services.gateway.inference.prediction_log import PredictionLog
from services.gateway.inference.residents import Residents
from services.gateway.inference.serving import Serving
from services.gateway.methods import GATEWAY
from services.gateway.upstreams import Upstreams

_ASK_EVERY_SECONDS = 10.0
_LAG_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """`ready`: predictions and feedback work. `missing` names every engine and service that doesn't answer, and why."""

    ready: bool
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Inference:
    """What tells how the loaded models are."""

    serving: Serving
    residents: Residents
    batches: Batches

    def tell(self, status: gateway_pb2.Status, caller: Principal) -> None:
        """Of the models, those of projects that the caller's key is good for; of the memory, all."""
        everything = list(self.serving.loaded())
        status.resident_bytes = total_bytes(loaded.weight for loaded, _ in everything)
        status.memory_budget_bytes = self.residents.budget
        status.sleeping_versions.extend(n for n in self.serving.sleeping() if _may_see(caller, n))
        for loaded, aliases in everything:
            if not _may_see(caller, loaded.target.name):
                continue
            one = status.loaded_models.add(
                version=loaded.target.name, aliases=sorted(aliases), predictions=loaded.predictions,
                resident_bytes=loaded.weight.total, waiting_calls=self.batches.waiting(loaded),
            )  # fmt: skip
            one.load_time.FromDatetime(loaded.loaded)
            if (line := loaded.window.line) is not None:
                one.seconds_per_row, one.seconds_per_batch = line.per_row, line.fixed


class System:
    """Belongs to the event loop. `checks` raise where an engine of the gateway can't be used."""

    def __init__(
        self,
        upstreams: Upstreams,
        follower: Follower,
        inference: Inference,
        log: PredictionLog,
        checks: Mapping[str, Callable[[], None]],
        events: EventLog,
    ) -> None:
        self._upstreams = upstreams
        self._follower = follower
        self._inference = inference
        self._log = log
        self._checks = checks
        self._events = events
        self.draining = False

    async def readiness(self) -> Readiness:
        """Asks every engine and service at once."""
        own, services = await asyncio.gather(self._own_problems(), self._upstreams.problems())
        if not self._follower.knows_any:
            own["aliases"] = self._follower.problem
        if self.draining:
            own[GATEWAY] = "It is stopping."
        READY.labels(GATEWAY).set(not own)
        return Readiness(ready=not own, missing={**own, **{name: problem for name, problem in services.items() if problem}})

    async def keep_told(self) -> None:
        """Asks again and again, for Prometheus; runs until cancelled."""
        while True:
            await self.readiness()
            await asyncio.sleep(_ASK_EVERY_SECONDS)

    async def get_status(self, _: gateway_pb2.GetStatusRequest) -> gateway_pb2.Status:
        """The answer to `GetStatus`: of the models, those that the caller's key is good for."""
        caller = current_principal()
        own, services, lags = await asyncio.gather(self._own_problems(), self._upstreams.states(), self._lags())
        status = gateway_pb2.Status(software_version=software_version(), pending_predictions=self._log.pending)
        problems = self._inference.serving.problems
        models = {name: why for name, why in problems.items() if _may_see(caller, name)}
        memory = {"memory": problem} if (problem := self._inference.residents.problem()) else {}
        told = " ".join(f"{name}: {problem}" for name, problem in {**own, **models, **memory}.items())
        status.clock_time.GetCurrentTime()
        status.consumer_lags.extend(lags)
        status.services.add(
            service=GATEWAY, ready=not own, problem=told, software_version=software_version(), clock_time=status.clock_time
        )
        for name, state in services.items():
            one_service = status.services.add(
                service=name, ready=not state.problem, problem=state.problem, software_version=state.software_version
            )
            if state.clock_time:
                one_service.clock_time.FromJsonString(state.clock_time)
        self._inference.tell(status, caller)
        return status

    async def _lags(self) -> list[gateway_pb2.ConsumerLag]:
        try:
            async with asyncio.timeout(_LAG_SECONDS):
                return await asyncio.to_thread(
                    lambda: [
                        gateway_pb2.ConsumerLag(group=group, topic=topic, waiting_events=lag_of(self._events, group, topic))
                        for group, topic in READERS
                    ]
                )
        except (RegrowError, TimeoutError):
            return []  # what is wrong with the log is told beside

    async def _own_problems(self) -> dict[str, str]:
        problems = await asyncio.gather(*(asyncio.to_thread(_problem, check) for check in self._checks.values()))
        return {name: problem for name, problem in zip(self._checks, problems, strict=True) if problem}


def _may_see(caller: Principal, name: str) -> bool:
    return caller.may_enter(project_of(name)) and caller.may_use(name)


def software_version() -> str:
    """Of this program."""
    return regrow.__version__


def _problem(check: Callable[[], None]) -> str:
    try:
        check()
    except RegrowError as error:
        return error.message
    return ""
