"""The services behind the gateway: one channel each, called with bytes, so that an answer passes through undecoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc_health.v1 import health_pb2

from services.common.rpc.client import aio_internal_channel
from services.common.rpc.credentials import is_about_certificates
from services.common.rpc.principal import as_mapping, call_metadata, current_principal, current_request_id
from services.common.rpc.readiness import CLOCK_KEY, SOFTWARE_KEY, read_missing
from services.common.rpc.status import from_rpc_error
from services.common.tls import CertificateFiles
from services.gateway.methods import Method

_HEALTH = "/grpc.health.v1.Health/Check"
_HEALTH_SECONDS = 2.0
_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamState:
    """What a service tells with its health. `clock_time` is RFC 3339."""

    problem: str
    software_version: str = ""
    clock_time: str = ""


class Upstreams:
    """Belongs to the event loop."""

    def __init__(self, addresses: Mapping[str, str], token: str, certificate: CertificateFiles | None = None) -> None:
        self._token = token
        self._channels = {
            home: aio_internal_channel(address, token, certificate=certificate) for home, address in addresses.items()
        }
        self._callables: dict[str, Callable[..., Any]] = {}

    def channel(self, home: str) -> grpc.aio.Channel:
        """For stubs that the gateway uses for itself; calls on it are made as a service."""
        return self._channels[home]

    def start(self, method: Method, request: bytes | None, seconds: float) -> Any:
        """Starts the call that runs now at the service that answers it, for its principal; ends with the caller's deadline."""
        call = self._callables.get(method.path) or self._make(method)
        metadata = call_metadata(current_principal(), self._token, current_request_id())
        arguments = () if request is None else (request,)
        return call(*arguments, timeout=seconds, metadata=metadata)

    async def problem(self, home: str) -> str:
        """What is wrong with a service, in words; empty where nothing is."""
        return (await self.state(home)).problem

    async def state(self, home: str) -> UpstreamState:
        """How a service is."""
        check = self._channels[home].unary_unary(
            _HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            call = check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
            answer, metadata = await call, await call.trailing_metadata()
        except grpc.aio.AioRpcError as error:
            if is_about_certificates(error.details()):
                return UpstreamState(problem=f"{home} shows no certificate that the gateway trusts. See REGROW_TLS_CA_FILE.")
            return UpstreamState(problem=f"{home} doesn't answer.")
        told = as_mapping(metadata)
        return UpstreamState(
            problem=_problem(home, answer.status, read_missing(metadata)),
            software_version=str(told.get(SOFTWARE_KEY, "")), clock_time=str(told.get(CLOCK_KEY, "")),
        )  # fmt: skip

    async def problems(self) -> dict[str, str]:
        """`problem` of every service, asked at once."""
        homes = list(self._channels)
        return dict(zip(homes, await asyncio.gather(*map(self.problem, homes)), strict=True))

    async def states(self) -> dict[str, UpstreamState]:
        """`state` of every service, asked at once."""
        homes = list(self._channels)
        return dict(zip(homes, await asyncio.gather(*map(self.state, homes)), strict=True))

    async def close(self) -> None:
        """Ends what still runs."""
        await asyncio.gather(*(channel.close(None) for channel in self._channels.values()))

    def _make(self, method: Method) -> Callable[..., Any]:
        kind = _KINDS[method.streams_requests, method.streams_responses]
        made: Callable[..., Any] = getattr(self._channels[method.home], kind)(method.path)
        self._callables[method.path] = made
        return made


def _problem(home: str, status: Any, missing: Mapping[str, str]) -> str:
    if missing:
        return " ".join(missing.values())
    serving = health_pb2.HealthCheckResponse.SERVING
    return "" if status == serving else f"{home} answers, but takes no calls: it starts or stops."


async def pump(call: Any, messages: AsyncIterator[bytes]) -> bytes:
    """Sends a stream at the pace that the service takes it, and answers its response. A failing source cancels the call."""
    try:
        async for message in messages:
            await _write(call, message)
        await call.done_writing()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError, cygrpc.InternalError):
        pass  # the service ended the call before it read all; its answer says why
    except BaseException:
        call.cancel()
        raise
    response: bytes = await call
    return response


async def _write(call: Any, message: bytes) -> None:
    """As `call.write`, which would replace the service's own status by "internal" where the service ends the call early."""
    if call.done():
        raise asyncio.InvalidStateError
    await call._metadata_sent.wait()
    await call._cython_call.send_serialized_message(message)


def told(error: Exception, home: str) -> Exception:
    """An upstream's failure as the error that it means; anything else as it is."""
    return from_rpc_error(error, home) if isinstance(error, grpc.aio.AioRpcError) else error
