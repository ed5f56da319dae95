"""Why no client of Kafka came into being, seen by hand: kafka-python tells that time ran out, whatever the handshake said."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.events.kafka_access import KafkaAccess

_SECONDS = 1.0
_NAME_DIFFERS = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH, and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_ENCRYPTED = ("SSL", "SASL_SSL")

SILENT = "nothing came from it in time"


def problem(access: KafkaAccess) -> str:
    """What a handshake with the first broker comes to, in words with what to do; empty where there is nothing wrong with it.

    Takes two seconds at most.
    """
    host, _, port = access.bootstrap.split(",")[0].strip().rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS) as line:
            return _shaken(line, host, access)
    except TimeoutError:
        return SILENT
    except (OSError, ValueError):
        return "there is no connection"


def _shaken(line: socket.socket, host: str, access: KafkaAccess) -> str:
    encrypted = access.protocol in _ENCRYPTED
    try:
        context = _trusting(access) if encrypted else _trusting_anyone()
        with context.wrap_socket(line, server_hostname=host) as secure:
            if not encrypted:
                return "it speaks TLS there; set REGROW_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
            return _after(secure, access.cert_file)
    except TimeoutError:
        return SILENT
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NAME_DIFFERS:
            return f"its certificate isn't for the name '{host}'; name it in REGROW_KAFKA_BOOTSTRAP as the certificate does"
        known = "isn't of the authority in REGROW_KAFKA_CA_FILE"
        unknown = "isn't of an authority that this system trusts; name its own in REGROW_KAFKA_CA_FILE"
        return f"its certificate {known if access.ca_file else unknown} ({error.verify_message})"
    except (ssl.SSLError, ConnectionError):
        return "it doesn't speak TLS there; check REGROW_KAFKA_SECURITY_PROTOCOL and the port" if encrypted else ""


def _after(secure: ssl.SSLSocket, cert_file: Path | None) -> str:
    """By TLS 1.3 a broker refuses a missing certificate after the handshake; one that waits for a request is content."""
    secure.settimeout(_SECONDS / 2)
    try:
        secure.recv(1)
    except TimeoutError:
        return ""
    except (ssl.SSLError, ConnectionError):
        return (
            "it refuses the certificate in REGROW_KAFKA_CERT_FILE" if cert_file
            else "it asks for a certificate of Regrow's own; name it in REGROW_KAFKA_CERT_FILE and REGROW_KAFKA_KEY_FILE"
        )  # fmt: skip
    return ""


def _trusting(access: KafkaAccess) -> ssl.SSLContext:
    """As kafka-python has it."""
    context = ssl.create_default_context(cafile=None if access.ca_file is None else str(access.ca_file))
    if access.cert_file is not None:
        context.load_cert_chain(access.cert_file, access.key_file)
    return context


def _trusting_anyone() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
