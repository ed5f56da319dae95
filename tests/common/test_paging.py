"""Page sizes are coerced and page tokens come back as they went, or are refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.common.paging import encode_token, page

KEYS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False))


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (2**31 - 1, 1000)])
def test_a_page_size_is_coerced(asked: int, given_: int) -> None:
    assert page(asked, "").limit == given_


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidField, match="page_size"):
        page(-1, "")


def test_the_first_page_starts_at_the_start() -> None:
    assert page(0, "").after is None


@settings(max_examples=50)
@given(KEYS, st.text())
def test_a_token_brings_its_key_back(after: dict[str, str | int | float | None], query: str) -> None:
    token = encode_token(after, query=query)
    assert page(0, token, query=query).after == after
    assert token.isascii() and token == token.strip("=")


def test_a_token_of_another_query_is_refused() -> None:
    token = encode_token({"id": 7}, query="kind=text")
    with pytest.raises(InvalidField, match="other arguments"):
        page(0, token, query="kind=numeric")


@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        page(0, token)


@pytest.mark.parametrize(
    "content", [b"[]", b"7", b'{"id": 1}', b'[{"id": [1]}, ""]', b'[[1], ""]', b"[" * 9000, b'["a", {}]', b"[{},1]"]
)
def test_json_that_is_no_token_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidField, match="page_token"):
        page(0, base64.urlsafe_b64encode(content).decode())
