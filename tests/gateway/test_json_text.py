"""JSON that says a thing twice: told by its place, however the rest is written."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.gateway.json_text import refuse_twice


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"rows": [{"a": 1}, {"b": ":::", "c": {"d": 1, "d": 2}}]}', "rows[1].c.d"),
        (b'[{"\\u0061": 1, "a": 2}]', "[0].a"),
        (b'{"a": {"b": 123456789012345678901234567890, "b": 1e99}}', "a.b"),
    ],
)
def test_a_key_that_is_there_twice_is_told_by_its_place(text: bytes, place: str) -> None:
    with pytest.raises(InvalidField) as refused:
        refuse_twice(text, orjson.loads(text))
    assert [(one.field, one.problem) for one in refused.value.problems] == [(place, "is given twice. Send it once.")]


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_what_a_writer_wrote_passes(value: object) -> None:
    text = orjson.dumps(value)
    refuse_twice(text, orjson.loads(text))


def test_a_text_that_is_nested_very_deep_is_left_to_whoever_reads_it() -> None:
    text = b'{"a:":' * 1000 + b"1" + b"}" * 1000
    refuse_twice(text, orjson.loads(text))
