"""How an error message quotes a value that somebody sent: as it was written, and short."""

from __future__ import annotations

import json
import math

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def quoted(value: object, most: int = 60) -> str:
    """A text in single quotes, anything else as JSON: `'old'`, `{"a": 1}`, `true`, `null`. At most so many characters."""
    if isinstance(value, str):
        inner = _ENCODER.encode(value[:most])[1:-1].replace('\\"', '"')
        return f"'{_cut(inner, most - 2, whole=len(value) <= most)}'"
    text = ""
    for part in _ENCODER.iterencode(_plain(value)):
        text += part
        if len(text) > most:
            break
    return _cut(text, most)


def _cut(text: str, most: int, *, whole: bool = True) -> str:
    return text if whole and len(text) <= most else f"{text[: most - 3]}..."


def _plain(value: object) -> object:
    """Whole numbers without decimals: JSON knows one kind, and a Struct has but floats."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
