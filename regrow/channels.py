"""Where a channel goes, and how: what both clients read of an address."""

from __future__ import annotations

from pathlib import Path

import grpc

OPTIONS = (("grpc.max_receive_message_length", 64 << 20), ("grpc.max_reconnect_backoff_ms", 2000))


def spelled_out(address: str, ca_file: str) -> str:
    """The address with the scheme that an authority implies."""
    return f"https://{address}" if ca_file and "://" not in address else address


def target_of(address: str, ca_file: str) -> tuple[str, grpc.ChannelCredentials | None]:
    """`host:port`, and the credentials of a channel over TLS. Raises `OSError` where the authority's file can't be read."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme in ("https", "grpcs"):
        return rest, grpc.ssl_channel_credentials(Path(ca_file).read_bytes() if ca_file else None)
    return rest if separator else address, None
