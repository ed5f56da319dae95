"""TLS, own certificates and passwords, against a real broker that asks for them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr
from real_engines import Server, free_port, kafka_server, running

from services.common.errors import EngineUnavailable, InvalidField
from services.common.events import REGISTRY, Event, events_from
from services.common.events.kafka_access import KafkaAccess
from services.common.events.kafka_log import KafkaLog
from services.common.settings import CommonSettings

pytestmark = pytest.mark.slow

PASSWORD = "open sesame"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Addresses by protocol, and the files of an authority, and of a client that it vouches for."""

    addresses: Mapping[str, str]
    ca: Path
    cert: Path
    key: Path
    server: Server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority, server = trustme.CA(), kafka_server(folder)
    made, own = authority.issue_cert("127.0.0.1"), authority.issue_cert("regrow@example.org")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(pkcs8 + made.cert_chain_pems[0].bytes())
    plain, controller = server.command[-2:]
    ports = {"PLAINTEXT": int(plain), **{name: free_port() for name in ("SSL", "SASL_SSL", "SASL_PLAINTEXT")}}
    server.environment["KAFKA_EXTRA"] = _settings(folder, ports, controller)
    with running(server):
        _make_user(server.address)
        yield Guarded(
            addresses={name: f"127.0.0.1:{port}" for name, port in ports.items()},
            ca=folder / "ca.pem",
            cert=folder / "cert.pem",
            key=folder / "key.pem",
            server=server,
        )


def _settings(folder: Path, ports: Mapping[str, int], controller: str) -> str:
    listeners = [f"{name}://127.0.0.1:{port}" for name, port in ports.items()]
    modules = "org.apache.kafka.common.security"
    scram = f"{modules}.scram.ScramLoginModule required;"
    lines = [
        f"listeners={','.join(listeners)},CONTROLLER://127.0.0.1:{controller}",
        f"advertised.listeners={','.join(listeners)}",
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT," + ",".join(f"{name}:{name}" for name in ports),
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'server.pem'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={folder / 'ca.pem'}",
        "listener.name.ssl.ssl.client.auth=required",
        f"sasl.enabled.mechanisms={','.join(MECHANISMS)}",
    ]
    for name in ("sasl_ssl", "sasl_plaintext"):
        lines += [
            f"listener.name.{name}.scram-sha-256.sasl.jaas.config={scram}",
            f"listener.name.{name}.scram-sha-512.sasl.jaas.config={scram}",
            f'listener.name.{name}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_regrow="{PASSWORD}";',
        ]
    return "\n".join(lines)


def _make_user(address: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            assert admin.alter_user_scram_credentials([UserScramCredentialUpsertion("regrow", mechanism, PASSWORD)]) == {
                "regrow": None
            }


def settings(guarded: Guarded, folder: Path, protocol: str, **more: object) -> CommonSettings:
    return CommonSettings(
        data_dir=folder,
        kafka_bootstrap=guarded.addresses[protocol],
        kafka_security_protocol=protocol,
        kafka_topic_prefix=f"test-{secrets.token_hex(6)}.",
        **more,
    )


def works(chosen: CommonSettings) -> bool:
    with closing(events_from(chosen)) as log:
        log.append(REGISTRY, [Event(key="k", value=b"over a guarded line")])
        with closing(log.consumer([REGISTRY], group="g")) as consumer:
            records = consumer.poll(timeout=timedelta(seconds=30))
            consumer.commit()
        return [record.value for record in records] == [b"over a guarded line"] and log.committed("g", REGISTRY) == log.ends(
            REGISTRY
        )


def test_tls_with_a_certificate_of_our_own(guarded: Guarded, tmp_path: Path) -> None:
    own = {"kafka_ca_file": guarded.ca, "kafka_cert_file": guarded.cert, "kafka_key_file": guarded.key}
    assert works(settings(guarded, tmp_path, "SSL", **own))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_a_password_by_every_mechanism_with_and_without_tls(
    guarded: Guarded, tmp_path: Path, protocol: str, mechanism: str
) -> None:
    user = {"kafka_username": "regrow", "kafka_password": SecretStr(PASSWORD), "kafka_sasl_mechanism": mechanism}
    tls = {"kafka_ca_file": guarded.ca} if protocol == "SASL_SSL" else {}
    assert works(settings(guarded, tmp_path, protocol, **user, **tls))


def test_a_wrong_password_is_told_with_the_settings_to_look_at_and_without_the_password(guarded: Guarded) -> None:
    access = KafkaAccess(
        bootstrap=guarded.addresses["SASL_SSL"], protocol="SASL_SSL", ca_file=guarded.ca, username="regrow",
        password=SecretStr("open barley"),
    )  # fmt: skip
    began = time.monotonic()
    with closing(KafkaLog(access)) as log, pytest.raises(EngineUnavailable) as told:
        log.check()
    assert "REGROW_KAFKA_USERNAME" in told.value.message
    assert "barley" not in told.value.message
    assert time.monotonic() - began < 30


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """An authority that nobody asked."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other-ca.pem")
    return tmp_path / "other-ca.pem"


@pytest.mark.parametrize(
    ("listener", "protocol", "files", "words"),
    [
        ("SASL_SSL", "SSL", (), "isn't of an authority that this system trusts; name its own in REGROW_KAFKA_CA_FILE"),
        ("SASL_SSL", "SASL_SSL", ("other",), "its certificate isn't of the authority in REGROW_KAFKA_CA_FILE"),
        ("SASL_SSL", "PLAINTEXT", (), "it speaks TLS there; set REGROW_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"),
        ("SASL_PLAINTEXT", "SASL_SSL", ("ca",), "it doesn't speak TLS there; check REGROW_KAFKA_SECURITY_PROTOCOL"),
        ("SSL", "SSL", ("ca",), "it asks for a certificate of Regrow's own; name it in REGROW_KAFKA_CERT_FILE"),
        ("localhost", "SASL_SSL", ("ca",), "its certificate isn't for the name 'localhost'"),
    ],
)
def test_a_wrong_setting_of_tls_is_told_by_what_is_wrong_with_it(
    guarded: Guarded, stranger: Path, listener: str, protocol: str, files: tuple[str, ...], words: str
) -> None:
    address = guarded.addresses["SASL_SSL" if listener == "localhost" else listener]
    access = KafkaAccess(
        bootstrap=address.replace("127.0.0.1", "localhost") if listener == "localhost" else address,
        protocol=protocol,  # type: ignore[arg-type]
        ca_file={"ca": guarded.ca, "other": stranger}[files[0]] if files else None,
        username="regrow", password=SecretStr(PASSWORD),
    )  # fmt: skip
    with closing(KafkaLog(access, wait=timedelta(seconds=2))) as log, pytest.raises(EngineUnavailable) as told:
        log.append(REGISTRY, [Event(key="k", value=b"")])
    assert f"doesn't answer as {protocol}: " in told.value.message and words in told.value.message


def test_a_file_that_is_no_certificate_is_told_before_anything_is_asked(guarded: Guarded, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("{}")
    with pytest.raises(InvalidField, match=r"REGROW_KAFKA_CA_FILE: '.*no.pem' holds no certificate in PEM"):
        KafkaAccess(bootstrap="127.0.0.1:1", protocol="SSL", ca_file=tmp_path / "no.pem")
    with pytest.raises(InvalidField, match=r"REGROW_KAFKA_CERT_FILE: .*aren't a certificate and its key"):
        KafkaAccess(
            bootstrap="127.0.0.1:1", protocol="SSL", ca_file=guarded.ca, cert_file=guarded.cert, key_file=tmp_path / "no.pem"
        )


def test_a_broker_that_is_frozen_is_told_within_the_wait_again_and_again(guarded: Guarded) -> None:
    access = KafkaAccess(
        bootstrap=guarded.addresses["SASL_SSL"], protocol="SASL_SSL", ca_file=guarded.ca, username="regrow",
        password=SecretStr(PASSWORD), prefix=f"test-{secrets.token_hex(6)}.",
    )  # fmt: skip
    with closing(KafkaLog(access, wait=timedelta(seconds=2))) as log:
        log.ensure_topics()
        log.append(REGISTRY, [Event(key="k", value=b"before")])
        guarded.server.freeze()
        try:
            for _ in range(4):
                began = time.monotonic()
                with pytest.raises(EngineUnavailable, match="nothing came from it in time"):
                    log.append(REGISTRY, [Event(key="k", value=b"meanwhile")])
                assert time.monotonic() - began < 30
        finally:
            guarded.server.thaw()
        deadline = time.monotonic() + 60
        while True:
            try:
                log.append(REGISTRY, [Event(key="k", value=b"after")])
                break
            except EngineUnavailable:
                assert time.monotonic() < deadline
