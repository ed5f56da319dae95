"""Certificates that are replaced on disk while a service runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import structlog
from pydantic import SecretStr

from services.common.errors import FieldProblem, InvalidFields, RegrowError
from services.common.metering import CERTIFICATE_END
from services.common.settings import CommonSettings
from services.common.tls.certificates import Certificate, days_left, read_certificate

OWN, PUBLIC = "REGROW_TLS", "REGROW_GATEWAY"
FEW_DAYS = 30
_LOOK_EVERY = 1.0

log = structlog.get_logger()

_Stamps = tuple[tuple[int, int], ...]


class CertificateFiles:
    """The certificate that some files hold now. May be asked from any thread, and for every connection."""

    def __init__(self, cert: Path, key: Path, trusted: Path | None, *, password: str, prefix: str) -> None:
        """Raises `InvalidField`."""
        self.cert, self.key, self.trusted = cert, key, trusted
        self.password = password
        self._prefix = prefix
        self._lock = threading.Lock()
        self._looked, self._warned = 0.0, date.min
        self._stamps = self._changed()
        self._current = self._read()
        self._warn_in_time()

    def current(self) -> Certificate:
        """The same object for as long as the files stay the same; the last that was good where they no longer are."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= _LOOK_EVERY:
                self._looked = now
                self._look()
                self._warn_in_time()
            return self._current

    def _look(self) -> None:
        stamps = self._changed()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._current = self._read()
        except RegrowError as error:  # one file of several may have been replaced, the others follow
            log.warning("new certificate not taken", problem=error.message)
        else:
            log.info("certificate read anew", path=str(self.cert), ends=self._current.ends.isoformat())

    def _warn_in_time(self) -> None:
        left, today = days_left(self._current), datetime.now(UTC).date()
        if left < FEW_DAYS and today != self._warned:
            self._warned = today
            log.warning("certificate ends soon", path=str(self.cert), days=left, ends=self._current.ends.isoformat())

    def _read(self) -> Certificate:
        found = read_certificate(self.cert, self.key, self.trusted, password=self.password, prefix=self._prefix)
        CERTIFICATE_END.labels("public" if self.trusted is None else "own").set(found.ends.timestamp())
        return found

    def _changed(self) -> _Stamps:
        return tuple(_stamps(path for path in (self.cert, self.key, self.trusted) if path is not None))


def own_certificate(settings: CommonSettings) -> CertificateFiles | None:
    """What a service shows to the others, and whom it trusts; None where nothing is set. Raises `InvalidFields`."""
    files = {"CERT_FILE": settings.tls_cert_file, "KEY_FILE": settings.tls_key_file, "CA_FILE": settings.tls_ca_file}
    return _files(OWN, files, settings.tls_key_password)


def public_certificate(settings: CommonSettings) -> CertificateFiles | None:
    """What the gateway shows to the public; None where nothing is set. Raises `InvalidFields`."""
    files = {"CERT_FILE": settings.gateway_cert_file, "KEY_FILE": settings.gateway_key_file}
    return _files(PUBLIC, files, settings.gateway_key_password)


def _files(prefix: str, files: dict[str, Path | None], password: SecretStr | None) -> CertificateFiles | None:
    if not any(files.values()):
        return None
    if missing := [name for name, path in files.items() if path is None]:
        names = ", ".join(f"{prefix}_{name}" for name in files)
        problem = f"is not set. TLS needs all of {names}, or none."
        raise InvalidFields([FieldProblem(field=f"{prefix}_{name}", problem=problem) for name in missing])
    cert, key, trusted = files["CERT_FILE"], files["KEY_FILE"], files.get("CA_FILE")
    assert cert is not None and key is not None
    secret = "" if password is None else password.get_secret_value()
    return CertificateFiles(cert, key, trusted, password=secret, prefix=prefix)


def _stamps(paths: Iterator[Path]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            yield (0, 0)
        else:
            yield (found.st_mtime_ns, found.st_ino)
