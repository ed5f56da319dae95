"""Resource names are read by pattern; ids that users choose are strict."""

from __future__ import annotations

import pytest

from services.common.errors import InvalidField
from services.common.names import check_id, number, parse

DATASET = "projects/{project}/datasets/{dataset}"


def test_a_name_gives_its_ids() -> None:
    assert parse(DATASET, "projects/shop/datasets/reviews-2026") == {"project": "shop", "dataset": "reviews-2026"}
    assert parse("projects/{project}/models/{model}/versions/{version}", "projects/p/models/m/versions/17")["version"] == "17"
    assert parse("labelsets/{labelset}", "labelsets/0f3a9c")["labelset"] == "0f3a9c"


@pytest.mark.parametrize(
    "wrong",
    [
        "", "projects/shop", "projects/shop/datasets/", "projects//datasets/d", "projects/shop/datasets/d/",
        "/projects/shop/datasets/d", "projects/shop/models/m",
        "projects/../datasets/d", "projects/a b/datasets/d", "projects/shop/datasets/d\n",
        "projects/shop/datasets/d\x00", "projects/🌱/datasets/d", "projects/shop/datasets/" + "d" * 129,
    ],
)  # fmt: skip
def test_a_name_that_does_not_fit_is_refused_with_the_pattern(wrong: str) -> None:
    with pytest.raises(InvalidField) as raised:
        parse(DATASET, wrong, field="parent")
    assert raised.value.problems[0].field == "parent"
    assert DATASET in raised.value.message
    assert len(raised.value.message) < 250


def test_dots_in_a_pattern_are_dots() -> None:
    with pytest.raises(InvalidField):
        parse("v1.0/{id}", "v1x0/a")


@pytest.mark.parametrize("good", ["a", "shop", "a-1", "a" * 63, "x" + "-" * 61 + "y"])
def test_good_ids_pass(good: str) -> None:
    assert check_id(good, "dataset_id") == good


@pytest.mark.parametrize("wrong", ["", "A", "1a", "-a", "a-", "a_b", "a" * 64, "a\n", "ä", "a/b", ".."])
def test_ids_that_do_not_fit_everywhere_are_refused(wrong: str) -> None:
    with pytest.raises(InvalidField, match="dataset_id"):
        check_id(wrong, "dataset_id")


def test_a_number_is_read_and_nothing_else() -> None:
    assert (number("0", "row"), number("17", "row")) == (0, 17)
    for wrong in ("", "-1", "01", "1.0", "١", "9" * 19, "1\n"):
        with pytest.raises(InvalidField, match="row"):
            number(wrong, "row")
