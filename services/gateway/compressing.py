"""Whole answers, compressed where the caller takes that (`Accept-Encoding`, RFC 9110). Streams and files go as they are."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache

WORTH_BYTES = 2 << 10
"""Smaller answers fit in a packet or two either way."""
WORTH_QUICK_BYTES = 4 << 10
"""Of predictions: compressing a small one takes longer than making it."""
_BIG_BYTES = 64 << 10
"""As much takes a millisecond, which others needn't wait: more is compressed in a thread."""
_LEVEL = 1
"""Measured on the API document: to 17 % at 10 us a KiB; level 6 to 13 % in thrice the time."""
_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_VARY = (b"vary", b"accept-encoding")


async def compressed(content: bytes, accepted: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The content as it is to be sent, and the headers that say how. `accepted` is the caller's header, empty without one."""
    coding = _chosen(accepted) if accepted else ""
    if not coding:
        return content, [_VARY]
    if len(content) > _BIG_BYTES:
        small = await asyncio.to_thread(zlib.compress, content, _LEVEL, _BITS[coding])
    else:
        small = zlib.compress(content, _LEVEL, _BITS[coding])
    return small, [_VARY, (b"content-encoding", coding.encode())]


@lru_cache(maxsize=256)
def _chosen(accepted: bytes) -> str:
    """The coding with the largest weight, gzip among equals; empty where the caller takes none."""
    weights = dict(_weighed(one) for one in accepted.decode("latin-1").lower().split(","))
    rest = weights.get("*", 0.0)
    found = max(_BITS, key=lambda coding: weights.get(coding, rest))
    return found if weights.get(found, rest) > 0 else ""


def _weighed(one: str) -> tuple[str, float]:
    """`("gzip", 0.5)` of `gzip;q=0.5`; what can't be read as a weight is none."""
    coding, _, parameter = one.partition(";")
    name, _, value = parameter.strip().partition("=")
    if not parameter:
        return coding.strip(), 1.0
    try:
        return coding.strip(), float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return coding.strip(), 0.0
