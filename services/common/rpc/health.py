"""Asks a server whether it can work: `python -m services.common.rpc.health HOST:PORT [SERVICE] [--public]`.

For container health checks, which may run a command and look at its exit code: 0 where it serves, 1 with a sentence where not.
With the certificates of the settings it asks over TLS; `--public` says that the server is the gateway.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from services.common.errors import RegrowError
from services.common.rpc.credentials import client_credentials, is_about_certificates
from services.common.rpc.readiness import read_missing
from services.common.settings import CommonSettings
from services.common.tls import Certificate, CertificateFiles, own_certificate, public_certificate

SECONDS = 4.0


def problem_of(
    address: str,
    service: str = "",
    *,
    seconds: float = SECONDS,
    certificate: CertificateFiles | None = None,
    itself: bool = False,
) -> str:
    """What is wrong with the server at `host:port`, in words; empty where it serves.

    With a `certificate`: of the caller where it names whom it trusts, else that of the server. `itself`: caller and server are
    one service, which may be asked by an address that its certificate isn't for.
    """
    with _channel(address, certificate, itself) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer, call = health_pb2_grpc.HealthStub(channel).Check.with_call(request, timeout=seconds)
        except grpc.RpcError as error:
            return _unreachable(address, error)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        missing = " ".join(f"{engine}: {problem}" for engine, problem in read_missing(call.trailing_metadata()).items())
        return f"{address} answers, but lacks what it needs. {missing}".strip()
    return ""


def _channel(address: str, certificate: CertificateFiles | None, itself: bool) -> grpc.Channel:
    if certificate is None:
        return grpc.insecure_channel(address)
    current = certificate.current()
    if not current.trusted:  # the server's own: whoever shows just this one is the one that is meant
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(current.chain), options=_named(current))
    options = _named(current) if itself else []
    return grpc.secure_channel(address, client_credentials(current), options=options)


def _named(certificate: Certificate) -> list[tuple[str, Any]]:
    """A server that asks itself by 127.0.0.1 may have a certificate for its name alone."""
    return [("grpc.ssl_target_name_override", certificate.names[0])] if certificate.names else []


def _unreachable(address: str, error: Any) -> str:
    if is_about_certificates(error.details()):
        return f"{address} and this side don't take each other's certificates, or one of them speaks without TLS."
    return f"{address} doesn't answer ({error.code().name})."


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    words = [word for word in arguments if word != "--public"]
    if not 1 <= len(words) <= 2:
        sys.stderr.write("Name the server: python -m services.common.rpc.health HOST:PORT [SERVICE] [--public]\n")
        return 2
    try:
        settings = CommonSettings(internal_token=SecretStr("unread"))
        certificate = public_certificate(settings) if "--public" in arguments else own_certificate(settings)
        problem = problem_of(*words, certificate=certificate, itself=True)
    except RegrowError as error:
        problem = error.message
    if problem:
        sys.stderr.write(f"{problem}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
