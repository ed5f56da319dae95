"""The ledger on a real database: what is written stands until a later entry says otherwise; any position can be read again."""

from __future__ import annotations

import time

import pytest

from services.common.errors import InvalidField, InvalidFields, NotFound
from services.common.listing import Asked
from services.labeling.votes import handlers
from services.labeling.votes.ledger import newest_position, standing_votes
from services.labeling.votes.rules import Drawn, NewVote

CROWD = "projects/shop/labelers/crowd"


def vote(row, classes=("ham",), **more):
    return NewVote(row=row, labeler=CROWD, classes=classes, **more)


def write(world, *votes):
    with world.database.session() as session:
        return handlers.write_votes(session, world.dataset, votes)


def standing(world, labelers=None, up_to=None):
    with world.database.reading() as session:
        frame = standing_votes(session, world.dataset, labelers, up_to)
    return [(row, classes) for row, classes in zip(frame["row"], frame["classes"], strict=True)]


def position(world):
    with world.database.reading() as session:
        return newest_position(session, world.dataset)


def listed(world, **query):
    with world.database.reading() as session:
        ask = Asked(size=query.pop("page_size", 50), token=query.pop("page_token", ""))
        return handlers.list_votes(session, world.dataset, ask, **query)


def retract(world, *names, why=""):
    with world.database.session() as session:
        return handlers.retract_votes(session, world.dataset, names, why=why)


def name(world, kept):
    return f"{world.dataset}/votes/{kept.position}"


def test_an_empty_ledger_has_typed_columns_and_position_zero(world):
    with world.database.reading() as session:
        frame = standing_votes(session, world.dataset, None, None)
    assert list(frame.columns) == ["row", "labeler", "classes", "against", "confidence", "gold", "drawn"]
    assert frame["row"].dtype == "int64"
    assert frame["gold"].dtype == bool
    assert position(world) == 0


def test_votes_stand_with_what_was_said(world):
    write(world, NewVote(row=3, labeler=world.human, classes=("spam",), drawn=Drawn.RANDOM, annotator="ann"))
    write(world, vote(4, against=True, confidence=0.5))
    with world.database.reading() as session:
        first, second = standing_votes(session, world.dataset, None, None).to_dict("records")
    assert first == {"row": 3, "labeler": world.human, "classes": ("spam",), "against": False, "confidence": 1.0, "gold": True,
                     "drawn": "random"}  # fmt: skip
    assert (second["against"], second["confidence"], second["gold"], second["drawn"]) == (True, 0.5, False, "found")


def test_a_message_sent_twice_changes_nothing(world):
    votes = [vote(1), vote(2, ("spam",)), vote(3, vote_id="mine")]
    assert write(world, *votes).written == 3
    before = position(world)
    again = write(world, *votes)
    assert (again.written, again.repeated) == (0, 3)
    assert position(world) == before


def test_a_vote_id_that_is_known_is_ignored_whatever_it_says_now(world):
    write(world, vote(1, vote_id="a"))
    write(world, vote(1, ("spam",), vote_id="a"))
    assert standing(world) == [(1, ("ham",))]


def test_a_later_vote_replaces_the_earlier_one_and_both_entries_stay(world):
    write(world, vote(1))
    before = position(world)
    write(world, vote(1, ("spam",)))
    assert standing(world) == [(1, ("spam",))]
    assert standing(world, up_to=before) == [(1, ("ham",))]
    newest, oldest = listed(world).votes
    assert newest.retracted is None
    assert oldest.retracted is not None


def test_one_answer_after_another_and_back_again_leaves_the_last(world):
    for classes in (("ham",), ("spam",), ("ham",)):
        write(world, vote(1, classes))
    assert standing(world) == [(1, ("ham",))]
    assert len({kept.vote_id for kept in listed(world).votes}) == 3


def test_a_made_id_never_meets_a_given_one(world):
    write(world, vote(1, vote_id="crowd/2//1"))
    assert write(world, vote(2), vote(3, vote_id="crowd/4//1"), vote(4)).written == 3


def test_annotators_and_directions_stand_beside_each_other(world):
    write(world, vote(1, annotator="ann"), vote(1, ("spam",), annotator="bob"), vote(1, ("spam",), against=True))
    assert len(standing(world)) == 3


def test_one_wrong_vote_keeps_the_whole_message_out(world):
    with pytest.raises(InvalidFields) as caught:
        write(world, vote(1), vote(60))
    assert caught.value.problems[0].field == "votes[1].row"
    assert position(world) == 0


def test_votes_of_a_labeler_that_votes_by_itself_or_is_unknown_are_refused(world):
    with pytest.raises(NotFound):
        write(world, NewVote(row=1, labeler="projects/shop/labelers/nobody", classes=("ham",)))
    with pytest.raises(InvalidField) as caught:
        write(world, vote(0), NewVote(row=1, labeler="projects/other/labelers/crowd", classes=("ham",)))
    assert caught.value.problems[0].field == "votes[1].labeler"


def test_a_data_set_that_is_not_there_is_not_found(world):
    with world.database.session() as session, pytest.raises(NotFound):
        handlers.write_votes(session, "projects/shop/datasets/nothing", [])
    with world.database.reading() as session, pytest.raises(NotFound):
        handlers.list_votes(session, "projects/shop/datasets/nothing")


def test_a_retracted_vote_counts_no_more_from_that_position_on(world):
    write(world, vote(1), vote(2))
    before = position(world)
    names = [name(world, kept) for kept in listed(world, row=1).votes]
    assert retract(world, *names, why="a slip") == 1
    assert retract(world, *names) == 0
    assert standing(world) == [(2, ("ham",))]
    assert standing(world, up_to=before) == [(1, ("ham",)), (2, ("ham",))]


def test_retracting_what_is_no_vote_of_the_data_set_retracts_nothing(world):
    write(world, vote(1))
    mine = name(world, listed(world).votes[0])
    with pytest.raises(NotFound):
        retract(world, mine, f"{world.dataset}/votes/999")
    with pytest.raises(InvalidField):
        retract(world, "projects/shop/datasets/other/votes/1")
    assert standing(world) == [(1, ("ham",))]


def test_a_retraction_is_no_vote(world):
    write(world, vote(1))
    retract(world, name(world, listed(world).votes[0]))
    with pytest.raises(NotFound):
        retract(world, f"{world.dataset}/votes/{position(world)}")


def test_only_the_named_labelers_count(world):
    write(world, vote(1), NewVote(row=1, labeler=world.human, classes=("spam",)))
    assert standing(world, labelers=[world.human]) == [(1, ("spam",))]
    assert standing(world, labelers=[]) == []


def test_lists_are_newest_first_in_pages_and_by_row_and_labeler(world):
    write(world, *(vote(row) for row in range(5)))
    write(world, NewVote(row=1, labeler=world.human, classes=("spam",)))
    first = listed(world, page_size=4)
    second = listed(world, page_size=4, page_token=first.next_page_token)
    assert [kept.row for kept in (*first.votes, *second.votes)] == [1, 4, 3, 2, 1, 0]
    assert second.next_page_token == ""
    assert len(listed(world, row=1).votes) == 2
    assert len(listed(world, row=1, labeler=world.human).votes) == 1
    with pytest.raises(InvalidField):
        listed(world, page_token=first.next_page_token, row=1)


@pytest.mark.slow
def test_a_hundred_thousand_votes_are_one_message(world):
    votes = [vote(n % 60, annotator=str(n)) for n in range(100_000)]
    started = time.monotonic()
    assert write(world, *votes).written == 100_000
    assert time.monotonic() - started < 30
    assert len(standing(world)) == 100_000
