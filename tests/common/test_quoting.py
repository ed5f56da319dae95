"""How messages quote what was sent: as it was written, in JSON, and short."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.common.quoting import quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("old", "'old'"), ('say "hi"\n', "'say \"hi\"\\n'"), (True, "true"), (None, "null"), (3.0, "3"), (2.5, "2.5"),
        ({"a": 1.0, "b": [None, False]}, '{"a": 1, "b": [null, false]}'), ([], "[]"), (math.inf, "Infinity"), ("", "''"),
    ],
)  # fmt: skip
def test_a_value_is_quoted_as_json_and_a_text_in_single_quotes(value: Any, shown: str) -> None:
    assert quoted(value) == shown


@pytest.mark.parametrize("value", ["x" * 100, "\n" * 59, '"' * 61, ["x" * 100], list(range(10_000)), {"a": {"b": "c" * 99}}])
def test_a_long_value_is_cut(value: Any) -> None:
    assert len(quoted(value)) <= 60 and "..." in quoted(value)
