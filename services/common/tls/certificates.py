"""A certificate with its key, read from PEM files and checked before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from services.common.errors import InvalidField

_FORMAT = "Write PEM, which begins with '-----BEGIN'."


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """PEM texts: a certificate with its chain, its key without a password, and the authorities that the other side's
    certificate must be of; none where the other side needn't show one. `names` are the hosts that it is for.
    """

    chain: bytes
    key: bytes
    trusted: bytes
    names: tuple[str, ...]
    ends: datetime


def days_left(certificate: Certificate) -> int:
    """Whole days until it ends."""
    return (certificate.ends - datetime.now(UTC)).days


def read_certificate(cert: Path, key: Path, trusted: Path | None, *, password: str, prefix: str) -> Certificate:
    """Reads and checks the files of `{prefix}_CERT_FILE`, `{prefix}_KEY_FILE` and `{prefix}_CA_FILE`.

    Where there is a `trusted`, the certificate is used in both directions, and must be for servers and clients. Raises
    `InvalidField` that names the variable.
    """
    chain = _content(cert, f"{prefix}_CERT_FILE")
    first = _certificates(chain, cert, f"{prefix}_CERT_FILE")[0]
    _check_time(first, cert, f"{prefix}_CERT_FILE")
    private = _key(key, password, prefix)
    if _public(first) != private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise InvalidField(
            f"{prefix}_KEY_FILE", f"'{key}' is not the key of the certificate '{cert}'. Name the two that belong."
        )
    authorities = b""
    if trusted is not None:
        authorities = _content(trusted, f"{prefix}_CA_FILE")
        _certificates(authorities, trusted, f"{prefix}_CA_FILE")
        _check_both_directions(first, cert, f"{prefix}_CERT_FILE")
    return Certificate(
        chain=chain, key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), trusted=authorities,
        names=_names(first), ends=first.not_valid_after_utc,
    )  # fmt: skip


def _content(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidField(variable, f"names '{path}', which can't be read ({error.strerror}).") from None


def _certificates(content: bytes, path: Path, variable: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise InvalidField(variable, f"'{path}' holds no certificate that can be read. {_FORMAT}") from None


def _check_time(certificate: x509.Certificate, path: Path, variable: str) -> None:
    now = datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        raise InvalidField(
            variable, f"'{path}' has expired on {certificate.not_valid_after_utc:%Y-%m-%d}. Put a new one there."
        )
    if now < certificate.not_valid_before_utc:
        raise InvalidField(
            variable,
            f"'{path}' is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on. Is the clock here right?",
        )


def _key(path: Path, password: str, prefix: str) -> PrivateKeyTypes:
    content, variable, secret = _content(path, f"{prefix}_KEY_FILE"), f"{prefix}_KEY_FILE", f"{prefix}_KEY_PASSWORD"
    locked = b"ENCRYPTED" in content
    if locked and not password:
        raise InvalidField(secret, f"is not set, and the key '{path}' has a password. Set it, or name it in {secret}_FILE.")
    try:
        return load_pem_private_key(content, password.encode() if locked else None)
    except ValueError:
        if locked:
            raise InvalidField(secret, f"is not the password of the key '{path}'.") from None
        raise InvalidField(variable, f"'{path}' holds no private key that can be read. {_FORMAT}") from None


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_both_directions(certificate: x509.Certificate, path: Path, variable: str) -> None:
    try:
        uses = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses >= {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}:
        raise InvalidField(
            variable, f"'{path}' must be for servers and clients (extended key usage): services take calls and make them."
        )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))
