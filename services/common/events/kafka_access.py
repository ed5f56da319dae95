"""How Kafka is reached: what the settings say, in the words of kafka-python, and what its errors mean in ours."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from kafka import errors
from pydantic import SecretStr

from services.common.errors import EngineUnavailable, InvalidField
from services.common.events import kafka_probe

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

FAILURES = (errors.KafkaError, OSError, RuntimeError)
"""What a call of kafka-python may raise: RuntimeError is a client that was closed meanwhile."""

_PREFIX = re.compile(r"[a-zA-Z0-9._-]{0,100}")
_SIGN_IN = (errors.SaslAuthenticationFailedError, errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAccess:
    """Where the brokers are, who asks, and how Regrow's topics and groups are named there.

    `prefix` goes before every topic and group, so that several Regrows share a cluster and their groups don't mix.
    """

    bootstrap: str
    protocol: Protocol = "PLAINTEXT"
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    prefix: str = ""
    replication: int = 1

    def __post_init__(self) -> None:
        """Raises `InvalidField`, whose field is the setting that is wrong."""
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidField("REGROW_KAFKA_TOPIC_PREFIX", "it takes up to 100 letters, digits, '.', '_' and '-'.")
        if self.protocol.startswith("SASL") and not (self.username and self.password):
            raise InvalidField(
                "REGROW_KAFKA_USERNAME", f"the security protocol {self.protocol} needs it, and REGROW_KAFKA_PASSWORD."
            )
        files = {"CA": self.ca_file, "CERT": self.cert_file, "KEY": self.key_file}
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise InvalidField(f"REGROW_KAFKA_{name}_FILE", f"there is no file '{path}'.")
        self._check_files()

    def _check_files(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca_file is not None:
                context.load_verify_locations(self.ca_file)
        except ssl.SSLError:
            raise InvalidField("REGROW_KAFKA_CA_FILE", f"'{self.ca_file}' holds no certificate in PEM.") from None
        try:
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except ssl.SSLError:
            problem = f"'{self.cert_file}' and REGROW_KAFKA_KEY_FILE aren't a certificate and its key, in PEM."
            raise InvalidField("REGROW_KAFKA_CERT_FILE", problem) from None

    def options(self, wait: timedelta) -> dict[str, Any]:
        """What every client is made with. No call of it hangs for much longer than `wait`."""
        milliseconds = max(1000, int(wait.total_seconds() * 1000))
        signs_in = self.protocol.startswith("SASL")
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "client_id": "regrow",
            "security_protocol": self.protocol,
            "ssl_cafile": _text(self.ca_file),
            "ssl_certfile": _text(self.cert_file),
            "ssl_keyfile": _text(self.key_file),
            "sasl_mechanism": self.mechanism if signs_in else None,
            "sasl_plain_username": self.username if signs_in else None,
            "sasl_plain_password": self.password.get_secret_value() if signs_in and self.password else None,
            "bootstrap_timeout_ms": milliseconds,
            "request_timeout_ms": milliseconds,
            "reconnect_backoff_max_ms": 1000,  # its default, 30 s, would outlast a broker's restart by far
        }

    def topic(self, name: str) -> str:
        """A topic's name on the cluster."""
        return self.prefix + name

    def group(self, name: str) -> str:
        """A consumer group's name on the cluster."""
        return self.prefix + name

    def told(self, error: Exception, *, opening: bool = False) -> EngineUnavailable:
        """What an error of kafka-python means to who called, in words, and never in its own text: that holds requests.

        `opening`: no client came into being, so a handshake is looked at, two seconds at most. Over TLS a refused sign-in may
        show as no more than a closed connection: its settings are named where nothing else is wrong.
        """
        answer = answered(error)
        settings = "check REGROW_KAFKA_SASL_MECHANISM, REGROW_KAFKA_USERNAME and its password"
        if isinstance(error, errors.UnsupportedSaslMechanismError):
            problem = f"doesn't take {self.mechanism} for the sign-in; {settings}"
        elif isinstance(error, _SIGN_IN):
            problem = f"refused the sign-in; {settings}"
        elif isinstance(error, errors.AuthorizationError):
            problem = f"doesn't allow this to Regrow's user ({answer}); grant it the prefixed topics and groups"
        elif answer:
            problem = f"answers {answer}"
        else:
            problem = f"doesn't answer as {self.protocol}: {self._silence(error, opening, settings)}"
        return EngineUnavailable("events", f"Kafka at {self.bootstrap} {problem}")

    def _silence(self, error: Exception, opening: bool, settings: str) -> str:
        if not opening:
            return _silence(error)
        return kafka_probe.problem(self) or _silence(error) + (f"; {settings}" if self.protocol.startswith("SASL") else "")


def answered(error: Exception) -> str:
    """Kafka's own name of what a broker answered, such as `NOT_ENOUGH_REPLICAS`; empty where none did."""
    return str(type(error).message) if isinstance(error, errors.BrokerResponseError) else ""


def _silence(error: Exception) -> str:
    if isinstance(error, errors.KafkaTimeoutError):
        return kafka_probe.SILENT
    if isinstance(error, errors.RetriableError | OSError):
        return "there is no connection, or it broke off"
    return "the connection was closed meanwhile"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
