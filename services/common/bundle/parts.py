"""Content-addressed parts: written once to the object store, kept in a local cache, verified at every reading."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from services.common.bundle.manifest import Manifest, Part
from services.common.errors import AlreadyExists, DigestMismatch, InvalidField
from services.common.objects.port import MODELS, ObjectStore

_PREFIX = "sha256:"


def key_of(digest: str) -> str:
    """The object key of a digest, `sha256/<hex>`. Raises `InvalidField` where it isn't one."""
    hexadecimal = digest.removeprefix(_PREFIX)
    if len(hexadecimal) != 64 or set(hexadecimal) - set("0123456789abcdef"):
        raise InvalidField("digest", f"'{digest[:80]}' is not a digest: write sha256: and 64 hexadecimal digits.")
    return f"sha256/{hexadecimal}"


def digest_of(content: bytes | Path) -> str:
    """`sha256:<hex>` of bytes or of a file."""
    if isinstance(content, bytes):
        return _PREFIX + hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return _PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def put_part(objects: ObjectStore, name: str, content: bytes | Path) -> Part:
    """Stores a part under its digest; one that is already there stays as it is."""
    digest = digest_of(content)
    with suppress(AlreadyExists):
        if isinstance(content, Path):
            objects.put_file(MODELS, key_of(digest), content, if_absent=True)
        else:
            objects.put(MODELS, key_of(digest), content, if_absent=True)
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    return Part(name=name, digest=digest, size=size)


def write_bundle(objects: ObjectStore, parts: Mapping[str, bytes | Path], manifest: Manifest) -> str:
    """Stores the parts, then the manifest that names them; answers the manifest's digest, which names the bundle."""
    stored = tuple(put_part(objects, name, content) for name, content in sorted(parts.items()))
    return put_part(objects, "manifest", replace(manifest, parts=stored).to_json()).digest


def read_verified(objects: ObjectStore, digest: str, what: str) -> bytes:
    """The bytes of a digest. Raises `NotFound` or `DigestMismatch`."""
    content = objects.get(MODELS, key_of(digest))
    expected = _PREFIX + key_of(digest).removeprefix("sha256/")
    if (actual := digest_of(content)) != expected:
        raise DigestMismatch(what, expected=expected, actual=actual)
    return content


def cached_part(objects: ObjectStore, part: Part, cache_dir: Path) -> Path:
    """A local file with the part's bytes, verified now. A damaged cache file is fetched again, a damaged object raises."""
    path = cache_dir / key_of(part.digest).replace("/", "-")
    if path.exists() and digest_of(path) == part.digest:
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("wb") as file:
            for chunk in objects.read(MODELS, key_of(part.digest)):
                file.write(chunk)
        if (actual := digest_of(partial)) != part.digest:
            raise DigestMismatch(f"Part '{part.name}'", expected=part.digest, actual=actual)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
