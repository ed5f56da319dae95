"""Filters against a real table: what they mean, and what is said about those that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from services.common.database import UtcDateTime
from services.common.errors import InvalidField
from services.common.filtering import condition
from services.common.listing import Asked, Collection, Sort, choice, entries, flag, number, text, time

TABLE = sa.Table(
    "things", sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String), sa.Column("size", sa.Float),
    sa.Column("gold", sa.Boolean), sa.Column("classes", sa.Text), sa.Column("state", sa.String),
    sa.Column("made", UtcDateTime), sa.Column("ended", UtcDateTime, nullable=True),
)  # fmt: skip
C = TABLE.c
FIELDS = {
    "name": text(C.name), "size": number(C.size), "gold": flag(C.gold), "class_names": entries(C.classes),
    "state": choice(C.state, {"running": "R", "succeeded": "S"}), "create_time": time(C.made),
    "end_time": time(C.ended, nullable=True),
}  # fmt: skip
THINGS = Collection(FIELDS, key=[Sort(name="id", column=C.id)])
ROWS = [
    {"id": 1, "name": "spam-a", "size": 1.5, "gold": True, "classes": ["yes"], "state": "R", "made": 1, "ended": None},
    {"id": 2, "name": "Spam-b", "size": -2.0, "gold": False, "classes": ["yes", "no"], "state": "S", "made": 2, "ended": 5},
    {"id": 3, "name": 'ham "x" 50%', "size": 2.0, "gold": False, "classes": [], "state": "S", "made": 3, "ended": 6},
    {"id": 4, "name": "", "size": 2.0, "gold": True, "classes": ['quote"yes"', "YES"], "state": "R", "made": 4, "ended": None},
]


def day(number: int | None) -> datetime | None:
    return None if number is None else datetime(2026, 3, number, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    engine = sa.create_engine("sqlite://")
    TABLE.metadata.create_all(engine)
    with Session(engine) as session:
        for row in ROWS:
            values = {**row, "classes": json.dumps(row["classes"]), "made": day(row["made"]), "ended": day(row["ended"])}
            session.execute(sa.insert(TABLE).values(**values))
        yield session
    engine.dispose()


def found(session: Session, filter: str) -> list[int]:
    wished = condition(filter, FIELDS)
    return list(session.scalars(sa.select(C.id).where(sa.true() if wished is None else wished).order_by(C.id)))


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ('name = "spam-a"', [1]),
        ("name = spam-a", [1]),
        ("name != spam-a", [2, 3, 4]),
        ("name:spam", [1, 2]),
        ('name:"50%"', [3]),
        ('name:"%"', [3]),
        (r'name = "ham \"x\" 50%"', [3]),
        ("name = 'ham \"x\" 50%'", [3]),
        ("name = spam*", [1]),
        ("name != spam*", [2, 3, 4]),
        ("name:*", [1, 2, 3]),
        ("size > 1.5", [3, 4]),
        ("size>=1.5 AND size<2", [1]),
        ("size = -2", [2]),
        ("gold = true", [1, 4]),
        ("NOT gold = true", [2, 3]),
        ("-gold:true", [2, 3]),
        ("class_names:yes", [1, 2]),
        ("class_names:YES", [4]),
        ("class_names:*", [1, 2, 4]),
        ("state = succeeded", [2, 3]),
        ("state = THING_STATE_SUCCEEDED", [2, 3]),
        ("state != running", [2, 3]),
        ('create_time < "2026-03-02T12:00:00Z"', [1]),
        ("create_time >= 2026-03-03", [3, 4]),
        ("create_time <= 2026-03-02T13:00:00+01:00", [1, 2]),
        ("end_time > 2026-03-05T12:00:00Z", [3]),
        ("NOT end_time > 2026-03-05T12:00:00Z", [1, 2, 4]),
        ("end_time:*", [2, 3]),
        ("NOT end_time:*", [1, 4]),
        ("end_time != 2026-03-05T12:00:00Z", [1, 3, 4]),
        ("size = 2 gold = true", [4]),
        ("gold = true AND name:spam OR size = 2", [1, 4]),
        ("(gold = true AND name:spam) OR size = 2", [1, 3, 4]),
        ("NOT (gold = true OR size = 2)", [2]),
        ("  (  ( size=2 )  )  ", [3, 4]),
    ],
)
def test_a_filter_means_what_aip_160_says(session: Session, filter: str, ids: list[int]) -> None:
    assert found(session, filter) == ids


@pytest.mark.parametrize(
    ("filter", "position", "problem"),
    [
        ("nme = 1", 1, "there is no field 'nme'"),
        ("gold = true AND colour = red", 17, "there is no field 'colour'"),
        ("gold", 5, "'gold' needs =, !=, <, <=, >, >= or : and a value"),
        ("gold =", 7, "the value of 'gold' is missing"),
        ('name = "open', 8, "the value of 'name' is missing, or its quotes aren't closed"),
        ("gold = maybe", 8, "gold is compared with true or false, not 'maybe'"),
        ("size > big", 8, "size is compared with a number, not 'big'"),
        ("size > nan", 8, "size is compared with a number"),
        ("size > 1e400", 8, "size is compared with a number"),
        ("create_time > yesterday", 15, "create_time is compared with a time, like 2026-03-27T14:53:00Z, not 'yesterday'"),
        ("state = broken", 9, "state is one of running, succeeded, not 'broken'"),
        ("name > a", 8, "name has no order: compare it by =, != or :, not >"),
        ("class_names = yes", 15, "class_names is a list: ask for an entry by :"),
        ("(gold = true", 13, "a closing parenthesis is missing"),
        ("gold = true)", 12, "')' isn't expected here"),
        ("gold = true OR", 15, "a condition is missing"),
        ("AND gold = true", 1, "a field's name is expected, not 'AND'"),
        ("= 1", 1, "a field's name is expected, not '='"),
        ("(" * 30 + "gold = true" + ")" * 30, 22, "nested deeper than 20"),
        (" OR ".join(["gold = true"] * 51), 755, "more than 50 conditions"),
    ],
)
def test_a_filter_that_means_nothing_is_told_where_and_which_fields_there_are(filter: str, position: int, problem: str) -> None:
    with pytest.raises(InvalidField) as caught:
        condition(filter, FIELDS)
    assert caught.value.problems[0].field == "filter"
    assert f"at character {position}: " in caught.value.message
    assert problem in caught.value.message
    assert "The fields are: name, size, gold, class_names, state, create_time, end_time." in caught.value.message
    assert caught.value.facts["position"] == str(position)


@given(st.text(alphabet=st.sampled_from("name=size<>!:()\"'\\ANDORT-1.5*gold true\0é"), max_size=60))
def test_any_text_is_a_filter_or_is_refused_and_never_breaks(text: str) -> None:
    try:
        wished = condition(text, FIELDS)
    except InvalidField as refused:
        assert refused.problems[0].field == "filter"
    else:
        assert wished is None or str(wished.compile())


def test_what_is_compared_never_becomes_sql(session: Session) -> None:
    assert found(session, 'name = "x\' OR 1=1 --"') == []
    assert found(session, 'name:"\\"); DROP TABLE things"') == []
    assert found(session, "") == [1, 2, 3, 4]


def pages(session: Session, size: int, **wanted: Any) -> list[list[int]]:
    read, token = [], ""
    while True:
        rows, token = THINGS.page(session, sa.select(C.id), Asked(size=size, token=token, **wanted), scope="all")
        read.append(rows)
        if not token:
            return read


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ("size", [2, 1, 3, 4]),
        ("size desc", [3, 4, 1, 2]),
        ("size desc, name", [4, 3, 1, 2]),
        ("create_time desc", [4, 3, 2, 1]),
        (" size  asc , create_time desc ", [2, 1, 4, 3]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_every_order_is_walked_page_by_page_without_loss_or_repetition(
    session: Session, order: str, ids: list[int], size: int
) -> None:
    read = pages(session, size, order_by=order)
    assert [one for page in read for one in page] == ids
    assert all(len(page) == size for page in read[:-1])
    assert [one for page in pages(session, size, order_by=order, filter="NOT name = spam-a") for one in page] == [
        one for one in ids if one != 1
    ]


@pytest.mark.parametrize("order", ["colour", "size up", "end_time", "class_names", "size,,name", "size, size", "desc", "gold"])
def test_an_order_that_there_is_not_is_refused_with_those_that_there_are(session: Session, order: str) -> None:
    with pytest.raises(InvalidField, match=r"^order_by: ") as caught:
        pages(session, 1, order_by=order)
    assert "names a field twice" in caught.value.message or "The fields are: name, size, create_time." in caught.value.message


def test_a_token_belongs_to_its_filter_and_order(session: Session) -> None:
    _, token = THINGS.page(session, sa.select(C.id), Asked(size=1, filter="gold = true"), scope="all")
    for other in (Asked(token=token), Asked(token=token, filter="gold = true", order_by="size")):
        with pytest.raises(InvalidField, match="other arguments"):
            THINGS.page(session, sa.select(C.id), other, scope="all")


def test_a_heavy_page_ends_early_but_never_before_its_first_row(session: Session) -> None:
    rows, token = THINGS.page(session, sa.select(C.id), Asked(), scope="all", weigh=lambda _: 10, heaviest=25)
    assert rows == [1, 2]
    rest, _ = THINGS.page(session, sa.select(C.id), Asked(token=token), scope="all", weigh=lambda _: 100, heaviest=25)
    assert rest == [3]
