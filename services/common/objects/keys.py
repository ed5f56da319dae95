"""What a bucket and a key may be called: rules that every adapter shares, so that a key good on one is good on all.

The letters of a key leave out everything that a file system, a URL or a shell reads as more than a name; that is also what
keeps a key from climbing out of its folder.
"""

from __future__ import annotations

import re

from services.common.errors import InvalidField

MOST_KEY_LETTERS = 1000
"""S3 stops at 1024; the rest is room for suffixes."""

MOST_SEGMENT_LETTERS = 200
"""File systems stop at 255 bytes a name; the rest is room for suffixes."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(rf"[a-zA-Z0-9._=-]{{1,{MOST_SEGMENT_LETTERS}}}")
_PREFIX = re.compile(r"[a-zA-Z0-9._=/-]*")


def check_bucket(bucket: str) -> None:
    """Raises `InvalidField` unless S3 would take the name too."""
    if not _BUCKET.fullmatch(bucket):
        raise InvalidField("bucket", f"{bucket[:80]!r} must be 3 to 63 lower-case letters, digits and inner hyphens.")


def split_key(key: str) -> list[str]:
    """The segments of a key. Raises `InvalidField` for an empty, overlong or foreign one, and for `.` and `..`."""
    if len(key) > MOST_KEY_LETTERS:
        raise InvalidField("key", f"it has {len(key)} letters; the limit is {MOST_KEY_LETTERS}.")
    segments = key.split("/")
    for segment in segments:
        if segment in {".", ".."} or not _SEGMENT.fullmatch(segment):
            raise InvalidField(
                "key",
                f"{key[:80]!r} must be '/'-separated names of letters, digits and '._=-', each 1 to {MOST_SEGMENT_LETTERS} "
                "long and none of them '.' or '..'.",
            )
    return segments


def split_prefix(prefix: str) -> tuple[list[str], str]:
    """The folders that a prefix names, and the beginning of a name after its last `/`. Raises `InvalidField`."""
    folders, _, start = prefix.rpartition("/")
    if not _PREFIX.fullmatch(prefix):
        raise InvalidField("prefix", f"{prefix[:80]!r} has letters that no key has; use letters, digits and '._=-/'.")
    return (split_key(folders) if folders or prefix.startswith("/") else []), start
