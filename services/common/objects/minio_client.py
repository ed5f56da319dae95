"""The clients of one S3 store: where it is, who we are, and how patiently we ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from urllib3.util import Retry, Timeout

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 60.0
_PROBE_SECONDS = 2.0
_CONNECTIONS = 32
# Pauses of 0, 0.2, 0.4, 0.8, 1.6, 2 and 2 seconds: a server that starts again is back in less.
_PATIENCE = Retry(
    total=7, backoff_factor=0.1, backoff_max=2.0, status_forcelist=(500, 502, 503, 504), allowed_methods=None,
    raise_on_status=False, respect_retry_after_header=False,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """Where the store is and who asks. Each client is made at its first use and safe for many threads."""

    endpoint: str
    """`http://host:port` or `https://host:port`."""
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    ca_file: Path | None = None
    """Certificates to trust instead of the usual ones."""
    public_endpoint: str | None = None
    """Where others reach it: what a signed link names. None: no links."""

    @cached_property
    def patient(self) -> Minio:
        """Waits with growing pauses while the store is away, for 7 seconds."""
        return self._client(self._pool(urllib3.PoolManager, _PATIENCE, _READ_SECONDS))

    @cached_property
    def conditional(self) -> Minio:
        """As `patient`; what it writes gets its name only where that is free, else `PreconditionFailed`."""
        return self._client(self._pool(_IfAbsent, _PATIENCE, _READ_SECONDS))

    @cached_property
    def probing(self) -> Minio:
        """Asks once and waits 2 seconds at most."""
        return self._client(self._pool(urllib3.PoolManager, Retry(total=0, raise_on_status=False), _PROBE_SECONDS))

    @cached_property
    def public(self) -> Minio | None:
        """Signs links; makes no calls, since the region is given."""
        return self._client(None, self.public_endpoint) if self.public_endpoint else None

    def _client(self, pool: urllib3.PoolManager | None, endpoint: str | None = None) -> Minio:
        address = urlsplit(endpoint or self.endpoint)
        return Minio(
            address.netloc, access_key=self.access_key, secret_key=self.secret_key, secure=address.scheme == "https",
            region=self.region, http_client=pool,
        )  # fmt: skip

    def _pool(self, kind: type[urllib3.PoolManager], retries: Retry, seconds: float) -> urllib3.PoolManager:
        return kind(
            timeout=Timeout(connect=min(_CONNECT_SECONDS, seconds), read=seconds), maxsize=_CONNECTIONS, retries=retries,
            cert_reqs="CERT_REQUIRED", ca_certs=str(self.ca_file) if self.ca_file else certifi.where(),
        )  # fmt: skip


class _IfAbsent(urllib3.PoolManager):
    """Adds `If-None-Match: *` to the call that gives an object its name: the SDK 7.2.20 has no argument for it.

    That is a PUT without a query (a part has one), or the POST that completes a multipart upload. A signature covers only
    the headers that it lists, so the added one needs no other.
    """

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
        """As the parent's."""
        query = urlsplit(url).query
        if (method == "PUT" and not query) or (method == "POST" and query.startswith("uploadId=")):
            kw["headers"]["If-None-Match"] = "*"
        return super().urlopen(method, url, redirect, **kw)
