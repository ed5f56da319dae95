"""Which votes are acceptable, and how a wrong one is named."""

import pytest

from services.common.errors import InvalidFields
from services.labeling.votes.rules import Ballot, NewVote, check_votes

CROWD = "projects/shop/labelers/crowd"
BALLOTS = {CROWD: Ballot(labeler=CROWD, classes=frozenset({"ham", "spam"}), multi_label=False, gold=False)}
TAGS = {CROWD: Ballot(labeler=CROWD, classes=frozenset({"ham", "spam"}), multi_label=True, gold=False)}


def vote(row=0, classes=("ham",), **more):
    return NewVote(row=row, labeler=CROWD, classes=classes, **more)


def problems(votes, ballots=BALLOTS, row_count=10):
    with pytest.raises(InvalidFields) as caught:
        check_votes(votes, ballots, row_count=row_count)
    return {problem.field: problem.problem for problem in caught.value.problems}


def test_a_row_that_does_not_exist_is_named_by_its_vote():
    found = problems([vote(0), vote(10), vote(-1)])
    assert found.keys() == {"votes[1].row", "votes[2].row"}
    assert "0 to 9" in found["votes[1].row"]


def test_an_unknown_class_is_told_with_those_that_exist():
    assert "'ham', 'spam'" in problems([vote(classes=("egg",))])["votes[0].class_names"]


@pytest.mark.parametrize("classes", [(), ("ham", "spam"), ("ham", "ham")])
def test_a_single_label_vote_names_exactly_one_class(classes):
    assert "votes[0].class_names" in problems([vote(classes=classes)])


def test_a_multi_label_vote_may_name_none_or_several_classes():
    check_votes([vote(0, ()), vote(1, ("ham", "spam"))], TAGS, row_count=2)


def test_a_vote_against_nothing_is_refused():
    assert "votes[0].class_names" in problems([vote(classes=(), against=True)], TAGS)


@pytest.mark.parametrize("confidence", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_confidence_is_above_zero_and_at_most_one(confidence):
    assert "votes[0].confidence" in problems([vote(confidence=confidence)])


def test_two_different_votes_on_one_row_in_one_message_are_refused():
    assert "votes[0]" in problems([vote(3), vote(3, ("spam",))])["votes[1].row"]


def test_votes_of_two_annotators_and_in_two_directions_on_one_row_are_fine():
    check_votes([vote(3, annotator="ann"), vote(3, annotator="bob"), vote(3, ("spam",), against=True)], BALLOTS, row_count=10)


def test_a_vote_sent_twice_in_one_message_is_fine():
    check_votes([vote(3), vote(3), vote(4, vote_id="a"), vote(4, vote_id="a")], BALLOTS, row_count=10)


def test_at_most_twenty_problems_are_told():
    assert len(problems([vote(99) for _ in range(1000)])) == 20


def test_a_data_set_without_rows_takes_no_votes():
    assert "no rows" in problems([vote(0)], row_count=0)["votes[0].row"]
