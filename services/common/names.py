"""Resource names (AIP-122): `projects/shop/datasets/reviews`, read and written by pattern.

Ids that users choose are strict (`check_id`), so that they fit in paths, file names and host names. Names that are read
may hold any id that a service once issued: chosen ids, numbers (`rows/17`), digests.
"""

from __future__ import annotations

import re
from functools import lru_cache

from services.common.errors import InvalidField

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}"
_NUMBER = re.compile(r"[1-9][0-9]{0,17}|0")


def parse(pattern: str, name: str, field: str = "name") -> dict[str, str]:
    """The ids of a name: `parse("projects/{project}", "projects/shop")` is `{"project": "shop"}`. Raises `InvalidField`."""
    if not name:
        raise InvalidField(field, f"is empty. It looks like '{pattern}'.")
    match = _compiled(pattern).fullmatch(name)
    if match is None:
        raise InvalidField(field, f"'{_short(name)}' doesn't look like '{pattern}'.")
    return match.groupdict()


def check_id(value: str, field: str) -> str:
    """An id that a user chose, back as it is. Raises `InvalidField`."""
    if not _ID.fullmatch(value):
        raise InvalidField(
            field,
            f"'{_short(value)}' can't be an id. Use 1 to 63 characters of a-z, 0-9 and '-', a letter first, no '-' at the end.",
        )
    return value


def number(value: str, field: str) -> int:
    """An id that is a number (a version, a row). Raises `InvalidField`."""
    if not _NUMBER.fullmatch(value):
        raise InvalidField(field, f"'{_short(value)}' isn't a whole number such as 17.")
    return int(value)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile("".join(f"(?P<{part}>{_SEGMENT})" if index % 2 else re.escape(part) for index, part in enumerate(parts)))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
