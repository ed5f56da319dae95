"""Asks a server whether it can work: `python -m services.common.rpc.health HOST:PORT [SERVICE]`.

For container health checks, which may run a command and look at its exit code: 0 where it serves, 1 with a sentence where not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.readiness import read_missing

SECONDS = 4.0


def problem_of(address: str, service: str = "", *, seconds: float = SECONDS) -> str:
    """What is wrong with the server at `host:port`, in words; empty where it serves."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer, call = health_pb2_grpc.HealthStub(channel).Check.with_call(request, timeout=seconds)
        except grpc.RpcError as error:
            return f"{address} doesn't answer ({error.code().name})."
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        missing = " ".join(f"{engine}: {problem}" for engine, problem in read_missing(call.trailing_metadata()).items())
        return f"{address} answers, but lacks what it needs. {missing}".strip()
    return ""


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("Name the server: python -m services.common.rpc.health HOST:PORT [SERVICE]\n")
        return 2
    problem = problem_of(*arguments)
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
