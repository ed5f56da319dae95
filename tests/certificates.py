"""Certificates of a test's own authority, as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from services.common.tls import CertificateFiles

HOSTS = ("localhost", "127.0.0.1")


class Authority:
    """Signs certificates and writes them, `{name}.pem` and `{name}-key.pem`, beside its own `ca.pem`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ca = folder, folder / "ca.pem"
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *hosts: str, days: float = 90, begun: float = 1, password: str = "") -> tuple[Path, Path]:
        """Certificate and key, good from `begun` days ago for `days` from now; again under the same name: replaced."""
        now = datetime.now(UTC)
        made = self._authority.issue_cert(
            *(hosts or HOSTS), not_before=now - timedelta(days=begun), not_after=now + timedelta(days=days),
            key_type=trustme.KeyType.ECDSA,
        )  # fmt: skip
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        private = made.private_key_pem.bytes()
        if password:
            private = load_pem_private_key(private, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
            )
        _replace(key, private)
        _replace(cert, b"".join(blob.bytes() for blob in made.cert_chain_pems))
        return cert, key

    def files(self, name: str, *hosts: str, trusted: bool = True) -> CertificateFiles:
        """The same as a service has it."""
        cert, key = self.issue(name, *hosts)
        return CertificateFiles(cert, key, self.ca if trusted else None, password="", prefix="REGROW_TLS")

    def settings(self, name: str, *hosts: str) -> dict[str, Path]:
        """The settings of a service that has it."""
        cert, key = self.issue(name, *hosts)
        return {"tls_cert_file": cert, "tls_key_file": key, "tls_ca_file": self.ca}


def _replace(path: Path, content: bytes) -> None:
    """In one step, as tools that renew certificates do it."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)
