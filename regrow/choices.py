"""Enum values by the words that people use: `macro_f1` for METRIC_MACRO_F1, and back."""

from __future__ import annotations

import difflib
from typing import Any

from google.protobuf.descriptor import EnumDescriptor


def words(enum: Any) -> list[str]:
    """The words of an enum, all but "not said"."""
    return [_word(enum, name) for name, number in enum.items() if number]


def number(enum: Any, word: str | int) -> Any:
    """The value that a word means; numbers pass. Raises `ValueError` that says which words there are."""
    if isinstance(word, int):
        return word
    wanted = word.lower().replace("-", "_")
    for name, value in enum.items():
        if value and wanted in (_word(enum, name), name.lower()):
            return value
    near = difflib.get_close_matches(wanted, words(enum), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"'{word}' is none of: {', '.join(words(enum))}.{hint}")


def word(enum: Any, value: int) -> str:
    """The word for a value; empty for "not said"."""
    return _word(enum, enum.Name(value)) if value else ""


def _word(enum: Any, name: str) -> str:
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum.DESCRIPTOR.name).lstrip("_")
    return str(name).removeprefix(f"{prefix}_").lower()


def word_of(enum: EnumDescriptor, value: int) -> str:
    """As `word`, by the enum's descriptor; the number itself for a value that this client doesn't know."""
    if value not in enum.values_by_number:
        return str(value)
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return str(enum.values_by_number[value].name).removeprefix(prefix).lower() if value else ""
