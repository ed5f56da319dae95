"""A person labels: rows come without the target, answers become votes, doubt picks the next row, undo takes back."""

from __future__ import annotations

import pytest

from regrow.labeling.v1 import annotation_pb2
from services.common.errors import FailedPrecondition, InvalidField, NotFound
from services.labeling.annotation.grpc_api import AnnotationServicer
from services.labeling.annotation.handlers import Annotation, Strategy
from services.labeling.votes.ledger import list_votes, standing_votes
from services.labeling.votes.rules import Drawn


@pytest.fixture
def annotation(world):
    return Annotation(world.database, world.datasets)


@pytest.fixture
def ask(world, annotation):
    def call(strategy=Strategy.RANDOM, count=1, annotator="ann", holdout=None, **more):
        fields = {"problem_spec": world.spec, "labeler": world.human, **more}
        return annotation.next_rows(
            world.dataset, annotator=annotator, strategy=strategy, count=count, holdout=holdout, **fields
        )

    return call


@pytest.fixture
def answer(world, annotation):
    def call(row, *classes, annotator="ann", drawn=Drawn.RANDOM):
        return annotation.submit(world.dataset, labeler=world.human, row=row, classes=classes, annotator=annotator, drawn=drawn)

    return call


def standing(world):
    with world.database.reading() as session:
        frame = standing_votes(session, world.dataset, [world.human], None)
    return dict(zip(frame["row"], frame["classes"], strict=True))


def training_rows(world):
    frame = world.datasets.load_rows(world.datasets.version(world.dataset), range(60))
    return frame.index[~frame["__holdout"]].tolist()


def test_a_row_comes_with_its_values_but_without_the_target(ask):
    (question,) = ask().rows
    assert set(question.values) == {"comment", "likes", "posted"}
    assert question.drawn is Drawn.RANDOM


def test_answered_rows_are_not_asked_again_until_none_is_left(ask, answer):
    seen = []
    while rows := ask(count=25).rows:
        for question in rows:
            answer(question.row, "ham")
            seen.append(question.row)
    assert sorted(seen) == list(range(60))
    assert ask().note == "Every row is answered."


def test_another_annotator_sees_the_rows_that_the_first_has_answered(ask, answer):
    for question in ask(count=60).rows:
        answer(question.row, "ham")
    assert len(ask(count=60, annotator="bob").rows) == 60


def test_random_rows_come_from_both_sides_or_from_the_one_asked_for(world, ask):
    training = set(training_rows(world))
    assert {q.row for q in ask(count=60).rows} == set(range(60))
    assert {q.row for q in ask(count=60, holdout=False).rows} == training
    assert {q.row for q in ask(count=60, holdout=True).rows} == set(range(60)) - training


def test_an_answer_becomes_a_gold_vote_with_how_its_row_was_drawn(answer):
    vote = answer(3, "spam", drawn=Drawn.GUIDED)
    assert (vote.row, vote.classes, vote.gold, vote.drawn, vote.annotator) == (3, ("spam",), True, Drawn.GUIDED, "ann")


def test_a_second_answer_replaces_the_first_of_the_same_annotator_alone(world, answer):
    answer(3, "spam")
    answer(3, "ham", annotator="bob")
    answer(3, "ham")
    with world.database.reading() as session:
        kept = list_votes(session, world.dataset, limit=10, standing_only=True)
    assert {vote.annotator: vote.classes for vote in kept} == {"ann": ("ham",), "bob": ("ham",)}


def test_the_same_answer_sent_twice_is_one_vote(answer):
    assert answer(3, "spam").position == answer(3, "spam").position


def test_undo_takes_the_newest_answer_back_and_nothing_of_others(world, annotation, answer):
    answer(1, "ham")
    answer(2, "spam")
    answer(3, "spam", annotator="bob")
    undone = annotation.undo(world.dataset, labeler=world.human, annotator="ann")
    assert (undone.row, undone.retracted is not None) == (2, True)
    assert set(standing(world)) == {1, 3}
    annotation.undo(world.dataset, labeler=world.human, annotator="ann")
    with pytest.raises(FailedPrecondition) as caught:
        annotation.undo(world.dataset, labeler=world.human, annotator="ann")
    assert caught.value.reason == "NOTHING_TO_UNDO"


@pytest.mark.parametrize("classes", [(), ("ham", "spam"), ("egg",)])
def test_an_answer_names_exactly_one_class_of_the_spec(answer, classes):
    with pytest.raises(InvalidField) as caught:
        answer(1, *classes)
    assert caught.value.problems[0].field == "class_names"


def test_what_cannot_be_answered_is_told(world, ask, answer):
    with pytest.raises(NotFound):
        answer(60, "ham")
    with pytest.raises(InvalidField):
        answer(1, "ham", annotator="x" * 201)
    with pytest.raises(InvalidField):
        ask(labeler=world.crowd)
    with pytest.raises(InvalidField):
        ask(problem_spec="projects/shop/problemSpecs/other")


def test_margin_draws_at_random_until_two_classes_are_answered(world, ask, answer):
    first, second = training_rows(world)[:2]
    answer(first, "ham")
    answer(second, "ham")
    questions = ask(Strategy.MARGIN)
    assert "at least two classes" in questions.note
    assert questions.rows[0].drawn is Drawn.RANDOM


def test_margin_asks_about_the_row_that_the_answers_do_not_explain(world, ask, answer):
    training = training_rows(world)
    world.datasets.append_rows(world.dataset, [{"comment": "zebra quark xylophone"}])
    for row in [row for row in training if row % 3 == 0][:4]:
        answer(row, "spam")
    for row in [row for row in training if row % 3][:4]:
        answer(row, "ham")
    questions = ask(Strategy.MARGIN, count=3)
    assert questions.rows[0].row == 60
    assert questions.rows[0].drawn is Drawn.GUIDED
    assert questions.rows[0].why.startswith("the model is torn between ")
    assert not any(question.holdout for question in questions.rows)


def test_progress_counts_rows_by_annotator_and_by_class_and_side(world, annotation, answer):
    training = training_rows(world)
    held_out = next(row for row in range(60) if row not in training)
    answer(training[0], "spam")
    answer(training[0], "spam", annotator="bob")
    answer(held_out, "ham")
    progress = annotation.progress(world.dataset, labeler=world.human)
    assert (progress.rows, progress.answered_rows) == (60, 2)
    assert dict(progress.annotators) == {"ann": 2, "bob": 1}
    assert progress.classes == (("ham", 0, 1), ("spam", 1, 0))


def test_an_answer_without_a_row_is_refused_instead_of_labeling_row_0(world, annotation):
    request = annotation_pb2.SubmitAnnotationRequest(parent=world.dataset, labeler=world.human, class_names=["ham"])
    with pytest.raises(InvalidField) as caught:
        AnnotationServicer(annotation).SubmitAnnotation(request, None)
    assert caught.value.facts["field"] == "row"
    assert standing(world) == {}
