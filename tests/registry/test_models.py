from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import EtagMismatch, InvalidField
from services.registry.models import (
    Alias,
    AliasRef,
    ModelRef,
    NewVersion,
    Selector,
    check_alias,
    check_etag,
    check_new,
    check_text,
    time_of_move,
    version_name,
)

TONE = ModelRef("shop", "tone")
CHAMPION = AliasRef(TONE, "champion")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "expected"),
    [("17", Selector(TONE, number=17)), ("latest", Selector(TONE)), ("@champion", Selector(TONE, alias="champion"))],
)
def test_a_version_is_named_by_number_as_latest_or_by_alias(last: str, expected: Selector) -> None:
    name = f"projects/shop/models/tone/versions/{last}"
    assert Selector.parse(name) == expected
    assert expected.name == name


@pytest.mark.parametrize(
    "name",
    ["", "projects/shop", "projects/shop/models/tone/versions/", "projects/shop/models/tone/versions/newest",
     "projects/shop/models/tone/versions/-1", "projects/shop/models/tone/versions/@", "projects/shop/models/tone/versions/@a/b",
     "/versions/1", "projects/shop/models/tone/versions/١"],
)  # fmt: skip
def test_anything_else_is_no_version(name: str) -> None:
    with pytest.raises(InvalidField):
        Selector.parse(name)


def test_latest_cannot_be_an_alias_because_it_already_means_something() -> None:
    with pytest.raises(InvalidField, match="latest"):
        check_alias(AliasRef(TONE, "latest"))
    assert check_alias(CHAMPION) is CHAMPION


def test_a_new_alias_needs_an_empty_etag_and_a_known_one_its_current_etag() -> None:
    known = Alias(ref=CHAMPION, version=1, bundle_digest="", etag="e1", moved=NOON)
    check_etag(CHAMPION, None, "")
    check_etag(CHAMPION, known, "e1")
    for current, sent in ((None, "e1"), (known, ""), (known, "e0")):
        with pytest.raises(EtagMismatch):
            check_etag(CHAMPION, current, sent)


def test_moves_go_forward_in_time_even_when_the_clock_goes_back() -> None:
    assert time_of_move(NOON, None) == NOON
    assert time_of_move(NOON, NOON - timedelta(hours=1)) == NOON
    assert time_of_move(NOON - timedelta(hours=1), NOON) == NOON + timedelta(microseconds=1)


def test_words_of_callers_are_bounded_and_free_of_nul() -> None:
    assert check_text("why 🌱", "why", 5) == "why 🌱"
    with pytest.raises(InvalidField, match="6 characters"):
        check_text("why???", "why", 5)
    with pytest.raises(InvalidField, match="NUL"):
        check_text("a\0b", "why", 5)


@pytest.mark.parametrize(
    "wrong", [{"bundle_digest": "sha256:12"}, {"bundle_digest": ""}, {"run": "runs/1"}, {"scores": {"f\0": 1.0}}]
)
def test_a_new_version_says_which_field_is_wrong(wrong: dict[str, object]) -> None:
    digest = "sha256:" + "0" * 64
    right: dict[str, object] = {"bundle_digest": digest, "run": "projects/shop/runs/1", "receipt": "{}", "scores": {}}
    check_new(NewVersion(**right))  # type: ignore[arg-type]
    with pytest.raises(InvalidField) as told:
        check_new(NewVersion(**(right | wrong)))  # type: ignore[arg-type]
    assert told.value.problems[0].field == f"version.{next(iter(wrong))}"


def test_no_version_has_no_name() -> None:
    assert version_name(TONE, 0) == ""
    assert version_name(TONE, 3) == "projects/shop/models/tone/versions/3"
