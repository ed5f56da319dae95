from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.common.events.assignment import assign

MEMBERS = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1)


@given(slots=st.integers(0, 20), members=MEMBERS, holders=st.dictionaries(st.integers(0, 20), st.sampled_from("abcxyz")))
def test_every_partition_has_one_reader_and_loads_differ_by_one_at_most(
    slots: int, members: list[str], holders: dict[int, str | None]
) -> None:
    owners = assign(dict.fromkeys(range(slots), "t"), {name: {"t"} for name in members}, holders)
    loads = Counter(dict.fromkeys(members, 0)) + Counter(owners.values())
    assert owners.keys() == set(range(slots))
    assert set(owners.values()) <= set(members)
    assert max(loads.values(), default=0) - min((loads[name] for name in members), default=0) <= 1


@given(slots=st.integers(0, 20), members=MEMBERS)
def test_a_settled_group_stays_as_it_is(slots: int, members: list[str]) -> None:
    topics, readers = dict.fromkeys(range(slots), "t"), {name: {"t"} for name in members}
    settled = assign(topics, readers, {})
    assert assign(topics, readers, settled) == settled


@given(slots=st.integers(1, 20), members=MEMBERS)
def test_a_newcomer_takes_its_share_and_nothing_else_moves(slots: int, members: list[str]) -> None:
    topics, readers = dict.fromkeys(range(slots), "t"), {name: {"t"} for name in members}
    before = assign(topics, readers, {})
    after = assign(topics, readers | {"new": {"t"}}, before)
    moved = {slot for slot in after if after[slot] != before[slot]}
    assert {after[slot] for slot in moved} <= {"new"}
    assert len(moved) == slots // (len(members) + 1)


def test_a_member_reads_only_its_own_topics() -> None:
    owners = assign({0: "a", 1: "a", 2: "b", 3: "c"}, {"one": {"a"}, "two": {"a", "b"}}, {})
    assert owners[2] == "two"
    assert "one" in {owners[0], owners[1]}
    assert 3 not in owners


def test_what_the_dead_held_is_given_to_the_living() -> None:
    assert assign({0: "t", 1: "t"}, {"one": {"t"}}, {0: "dead", 1: None}) == {0: "one", 1: "one"}
