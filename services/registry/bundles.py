"""The bytes of a bundle in the object store: verified whole when a version is registered, and again when they are handed out.

A bundle is a manifest, JSON whose `parts` name every other object by sha256. The registry reads nothing else of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.common.errors import DigestMismatch, FailedPrecondition, InvalidField, NotFound, TooLarge
from services.common.objects.port import MODELS, ObjectStore
from services.registry.models import Part, check_digest

MANIFEST = "manifest.json"
_MOST_MANIFEST_BYTES = 16 << 20
_FIELD = "version.bundle_digest"


def key_of(digest: str) -> str:
    """Where the bytes with this digest are: `sha256/<hex>`."""
    return digest.replace(":", "/", 1)


def verify(objects: ObjectStore, digest: str) -> tuple[Part, ...]:
    """Reads every byte of a bundle; answers its parts, the manifest first.

    Raises `FailedPrecondition` (`BUNDLE_MISSING`) where an object isn't in the store, `DigestMismatch` where one is damaged,
    `InvalidField` where the digest names something that is no manifest or contradicts its parts.
    """
    with _present(f"The manifest '{digest}'"):
        size = objects.stat(MODELS, key_of(digest)).size
        if size > _MOST_MANIFEST_BYTES:
            raise TooLarge(f"The manifest '{digest}'", limit=f"{_MOST_MANIFEST_BYTES >> 20} MiB")
        manifest = b"".join(read_verified(objects, Part(name=MANIFEST, digest=digest, size=size)))
    parts = _parts(manifest)
    sizes = {part.digest: _verified_size(objects, part) for part in dict.fromkeys(parts)}
    for part in parts:
        if part.size != sizes[part.digest]:
            found = f"part '{part.name}' has {sizes[part.digest]} bytes, but the manifest says {part.size}."
            raise InvalidField(_FIELD, f"contradicts itself: {found} Write the bundle again.")
    return (Part(name=MANIFEST, digest=digest, size=size), *parts)


def read_verified(objects: ObjectStore, part: Part) -> Iterator[bytes]:
    """Streams a part. The last chunk comes only once the digest is known to be right, so damaged bytes never arrive whole.

    Raises `NotFound`, `DigestMismatch`.
    """
    hasher, held = hashlib.sha256(), b""
    for chunk in objects.read(MODELS, key_of(part.digest)):
        hasher.update(chunk)
        if held:
            yield held
        held = chunk
    if (actual := f"sha256:{hasher.hexdigest()}") != part.digest:
        raise DigestMismatch(f"Part '{part.name}'", expected=part.digest, actual=actual)
    yield held


def _verified_size(objects: ObjectStore, part: Part) -> int:
    with _present(f"Part '{part.name}' ({part.digest})"):
        return sum(map(len, read_verified(objects, part)))


@contextmanager
def _present(what: str) -> Iterator[None]:
    """An object that must be in the store already: its absence is a wrong order of calls, not a wrong name."""
    try:
        yield
    except NotFound:
        raise FailedPrecondition(
            f"{what} isn't in the object store. Upload the whole bundle, then register it.", reason="BUNDLE_MISSING"
        ) from None


def _parts(manifest: bytes) -> tuple[Part, ...]:
    try:
        content: Any = json.loads(manifest)
        return tuple(map(_part, content["parts"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise InvalidField(
            _FIELD, "names an object that is no manifest. It is JSON with 'parts', each of 'name', 'digest' and 'size'."
        ) from None


def _part(raw: Any) -> Part:
    match raw:
        case {"name": str() as name, "digest": str() as digest, "size": int() as size}:
            return Part(name=name, digest=check_digest(digest, f"{_FIELD} -> part '{name}'"), size=size)
    raise TypeError("no part")
