"""Certificates for Regrow on one machine, or to begin with: an authority of its own, and a certificate for each service.

The authority's key stays in the folder, so that later calls renew what ends. A company that has an authority uses that one,
and only names its files in the settings.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

SERVICES = ("labeling", "training", "registry", "gateway")
PUBLIC = "public"
HERE = ("localhost", "127.0.0.1", "::1")
_AUTHORITY_DAYS, _DAYS, _RENEW_DAYS = 3650, 397, 30
"""Browsers and Apple's systems refuse certificates for more than 397 days."""


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def make(folder: Path, hosts: Sequence[str] = ()) -> Path:
    """Makes `ca.pem`, and a folder of `cert.pem`, `key.pem` and `ca.pem` for each service and `public`; answers the folder.

    A container may be given its own folder, and then sees no other's key. All certificates are good for `localhost`, `hosts`
    and the service's own name. One that is there and good for more than 30 days, and for these, stays as it is. Raises
    `OSError`, and `ValueError` where what is there is no such authority.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority(folder)
    for name in (*SERVICES, PUBLIC):
        names = [*([] if name == PUBLIC else [name]), *HERE, *hosts]
        (folder / name).mkdir(exist_ok=True, mode=0o700)
        _write(folder / name / "ca.pem", (folder / "ca.pem").read_bytes())
        if not _is_good(folder, name, names, authority):
            _issue(folder, name, names, authority)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The settings that use these files."""
    found = {"REGROW_TLS_CA_FILE": folder / "ca.pem", "REGROW_CA_FILE": folder / "ca.pem"}
    for service in SERVICES:
        found[f"REGROW_{service.upper()}_TLS_CERT_FILE"] = folder / service / "cert.pem"
        found[f"REGROW_{service.upper()}_TLS_KEY_FILE"] = folder / service / "key.pem"
    found["REGROW_GATEWAY_CERT_FILE"] = folder / PUBLIC / "cert.pem"
    found["REGROW_GATEWAY_KEY_FILE"] = folder / PUBLIC / "key.pem"
    return {name: str(path) for name, path in found.items()}


def _authority(folder: Path) -> _Authority:
    cert, key = folder / "ca.pem", folder / "ca-key.pem"
    if cert.exists() or key.exists():  # half an authority raises: a new one would end all that trust this one
        private = load_pem_private_key(key.read_bytes(), None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError(f"the key of {key.name} is of another kind")
        return _Authority(x509.load_pem_x509_certificate(cert.read_bytes()), private)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Regrow's own authority")])
    built = _begun(name, name, private, _AUTHORITY_DAYS).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    signed = _signed(built.add_extension(_key_usage(authority=True), True), private)
    _write(key, _pem(private))
    _write(cert, _pem(signed))
    return _Authority(signed, private)


def _issue(folder: Path, name: str, names: Sequence[str], authority: _Authority) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Regrow {name}")])
    uses = [ExtendedKeyUsageOID.SERVER_AUTH] + [ExtendedKeyUsageOID.CLIENT_AUTH] * (name != PUBLIC)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    built = (
        _begun(subject, authority.certificate.subject, private, _DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_key_usage(authority=False), True)
        .add_extension(x509.ExtendedKeyUsage(uses), False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), False)
        .add_extension(issuer, False)
    )
    _write(folder / name / "key.pem", _pem(private))
    _write(folder / name / "cert.pem", _pem(_signed(built, authority.key)))


def _is_good(folder: Path, name: str, names: Sequence[str], authority: _Authority) -> bool:
    try:
        found = x509.load_pem_x509_certificate((folder / name / "cert.pem").read_bytes())
        found.verify_directly_issued_by(authority.certificate)
        shown = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, InvalidSignature, ValueError, x509.ExtensionNotFound):
        return False
    lasts = found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=_RENEW_DAYS)
    return lasts and (folder / name / "key.pem").exists() and set(_general_names(names)) <= set(shown)


def _begun(subject: Any, issuer: Any, private: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # other machines' clocks may be behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signed(built: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    return built.sign(key, hashes.SHA256())


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _pem(made: Any) -> bytes:

    if isinstance(made, x509.Certificate):
        return made.public_bytes(Encoding.PEM)
    private: bytes = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private


def _write(path: Path, content: bytes) -> None:
    """In one step, readable by the owner alone: a service that looks meanwhile sees the old file or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
