"""What callers give to `put`: bytes, a file, or an iterable of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import BinaryIO


def chunks_of(content: bytes | BinaryIO | Iterable[bytes]) -> Iterable[bytes]:
    """The content in pieces that fit in memory."""
    if isinstance(content, bytes):
        return (content,)
    # a file iterates by line, which for binary content may be one byte or all of it
    read = getattr(content, "read", None)
    return iter(partial(read, 1 << 20), b"") if callable(read) else content
