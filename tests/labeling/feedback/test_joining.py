"""Feedback on the real log: every accepted event ends in the ledger or in the unmatched table, once, whatever the order."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services.common.errors import EngineUnavailable
from services.common.events.dead_letter import dead_letters
from services.common.events.port import FEEDBACK, PREDICTIONS
from services.common.listing import Asked
from services.labeling.feedback import consumer as consuming
from services.labeling.feedback.consumer import FeedbackConsumer, forget_predictions
from services.labeling.feedback.storage import AppliedOffset, PredictionRow
from services.labeling.votes.ledger import list_votes, standing_votes

MODEL = "projects/shop/models/spam"


def votes(world):
    with world.database.reading() as session:
        return list(reversed(list_votes(session, world.dataset, limit=1000)))


def reasons(production):
    return {found.event_id: found.reason for found in production.feedback.unmatched(MODEL)[0]}


def applied(production):
    ledger, unmatched = production.feedback.applied_events(MODEL)
    assert len(ledger) == len(set(ledger))
    assert len(unmatched) == len(set(unmatched))
    assert not set(ledger) & set(unmatched)
    return set(ledger), set(unmatched)


def test_a_label_of_a_known_prediction_is_a_vote_of_its_source_without_a_row_yet(world, production):
    production.predict("p1")
    production.label("e1", "p1", ("1",))
    production.apply()
    (vote,) = votes(world)
    assert (vote.row, vote.classes, vote.prediction, vote.gold, vote.annotator) == (None, ("spam",), "p1", False, "app")
    with world.database.reading() as session:
        assert standing_votes(session, world.dataset, None, None).empty


def test_a_label_that_comes_before_its_prediction_waits_and_is_matched_when_it_comes(world, production):
    production.label("e1", "p1")
    production.label("e2", "p1", ("egg",))
    production.apply()
    assert reasons(production) == {"e1": "UNKNOWN_PREDICTION", "e2": "UNKNOWN_PREDICTION"}
    production.predict("p1")
    production.apply()
    assert reasons(production) == {"e2": "UNKNOWN_CLASS"}
    assert applied(production) == ({"e1"}, {"e2"})


def test_waiting_labels_of_one_prediction_are_matched_in_the_order_of_the_log(world, production):
    for number in range(5):
        production.label(f"e{number}", "p1", ("ham" if number % 2 else "spam",))
    production.apply()
    production.predict("p1")
    production.apply()
    assert [vote.vote_id.rpartition("/")[2] for vote in votes(world)] == ["e0", "e1", "e2", "e3", "e4"]


def test_an_event_id_counts_once_and_its_repetitions_are_counted(world, production):
    production.predict("p1")
    production.label("e1", "p1", ("ham",))
    production.label("e1", "p1", ("spam",))
    production.label("e2", "nothing")
    production.apply()
    production.label("e1", "p1")
    production.label("e2", "nothing")
    production.apply()
    stats = production.feedback.stats(MODEL)
    assert (stats.votes, stats.unmatched, stats.repeated, stats.predictions, stats.lag) == (1, 1, 3, 1, 0)
    assert votes(world)[0].classes == ("ham",)


def test_a_record_that_the_log_delivers_again_changes_nothing(world, production):
    production.predict("p1")
    production.label("e1", "p1")
    production.label("e1", "p1")
    production.apply()
    before = production.feedback.stats(MODEL)
    with closing(world.log.consumer([FEEDBACK])) as reader:
        records = reader.poll(timeout=timedelta(seconds=1))
    production.consumer.handle_feedback(records)
    assert production.feedback.stats(MODEL) == before


def test_the_same_event_id_of_another_model_is_another_event(world, production):
    for model in (MODEL, "projects/shop/models/other"):
        production.predict("p1", model)
        production.label("e1", "p1", model=model)
    production.apply()
    assert applied(production) == ({"e1"}, set())
    assert production.feedback.applied_events("projects/shop/models/other") == (["e1"], [])


def test_a_prediction_of_another_model_is_unknown(production):
    production.predict("p1", "projects/other/models/spam")
    production.label("e1", "p1")
    production.apply()
    assert reasons(production) == {"e1": "UNKNOWN_PREDICTION"}


def test_labels_with_their_own_features_need_no_prediction(world, production):
    production.label("e1", features={"comment": "hello"})
    production.label("e2", features={"nonsense": 1})
    production.label("e3")
    production.apply()
    assert reasons(production) == {"e2": "UNREADABLE_FEATURES", "e3": "UNREADABLE_FEATURES"}
    (vote,) = votes(world)
    assert vote.prediction == ""


@pytest.mark.parametrize("classes", [(), ("egg",), ("ham", "spam"), ("",)])
def test_a_label_that_means_no_class_is_unmatched_with_the_label_as_sent(production, classes):
    production.predict("p1")
    production.label("e1", "p1", classes)
    production.apply()
    (found,), _ = production.feedback.unmatched(MODEL)
    assert (found.reason, found.classes) == ("UNKNOWN_CLASS", classes)


@pytest.mark.parametrize("spec", ["projects/shop/problemSpecs/gone", "nonsense", "projects/other/problemSpecs/spam"])
def test_a_spec_that_is_not_there_makes_an_event_unmatched_and_stops_nothing(production, spec):
    production.predict("p1")
    production.label("e1", "p1", spec=spec)
    production.label("e2", "p1")
    production.apply()
    assert applied(production) == ({"e2"}, {"e1"})
    assert reasons(production) == {"e1": "UNKNOWN_SPEC"}


def test_sources_have_labelers_of_their_own(production):
    production.predict("p1")
    production.label("e1", "p1", source="app")
    production.label("e2", "p1", source="support team")
    production.label("e3", "p1", source="app")
    production.apply()
    sources = production.feedback.stats(MODEL).sources
    assert [(found.source, found.votes) for found in sources] == [("app", 2), ("support team", 1)]
    assert len({found.labeler for found in sources}) == 2


def test_a_record_that_cannot_be_read_goes_to_the_dead_letters_and_holds_nothing_up(world, production):
    production.predict("p1")
    production.label("e1", "p1")
    production.poison()
    production.label("e2", "p1")
    production.poison()
    production.apply(PREDICTIONS)
    production.run(FEEDBACK)
    assert applied(production) == ({"e1", "e2"}, set())
    assert [letter.offset for letter in dead_letters(world.log)] == [1, 3]
    assert production.feedback.stats(MODEL).lag == 0


def test_lag_counts_the_records_that_are_not_applied(production):
    production.label("e1", "p1")
    production.label("e2", "p1")
    assert production.feedback.stats(MODEL).lag == 2
    production.apply()
    assert production.feedback.stats(MODEL).lag == 0


def test_while_predictions_wait_to_be_read_it_is_told_how_many_since_feedback_on_them_is_unmatched_until_then(production):
    for number in range(3):
        production.predict(f"p{number}")
    production.label("e1", "p1")
    production.apply(FEEDBACK)
    behind = production.feedback.stats(MODEL)
    assert (behind.votes, behind.unmatched, behind.lag, behind.prediction_lag) == (0, 1, 0, 3)
    production.apply(PREDICTIONS)
    caught_up = production.feedback.stats(MODEL)
    assert (caught_up.votes, caught_up.unmatched, caught_up.prediction_lag) == (1, 0, 0)


def test_a_crash_between_the_database_and_the_log_applies_nothing_twice(world, production):
    production.predict("p1")
    production.label("e1", "p1")
    production.apply(PREDICTIONS)
    reader = world.log.consumer([FEEDBACK], group="labeling")
    production.consumer.handle_feedback(reader.poll(timeout=timedelta(seconds=1)))
    reader.close()  # killed before its commit
    production.label("e2", "p1")
    production.apply()
    assert applied(production) == ({"e1", "e2"}, set())
    assert production.feedback.stats(MODEL).repeated == 0


def test_a_batch_whose_transaction_fails_leaves_no_trace_and_comes_again(world, production, monkeypatch):
    production.predict("p1")
    for number in range(10):
        production.label(f"e{number}", "p1")
    calls = iter([EngineUnavailable("database", "gone"), None])

    def failing(session, offsets):
        if (problem := next(calls, None)) is not None:
            raise problem
        store(session, offsets)

    store = consuming.store_offsets
    production.apply(PREDICTIONS)
    monkeypatch.setattr(consuming, "store_offsets", failing)
    production.run(FEEDBACK)
    assert applied(production)[0] == {f"e{number}" for number in range(10)}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_whatever_the_order_each_event_ends_in_one_place_once(world, production, seed):
    """Predictions and labels in any order, repeated, in batches applied by turns: the sets come out the same."""
    dice = random.Random(seed)
    known = [f"p{n}" for n in range(20)]
    steps = [("predict", p) for p in known] + [("label", n) for n in range(60)] + [("label", n) for n in range(0, 60, 7)]
    dice.shuffle(steps)
    for kind, what in steps:
        if kind == "predict":
            production.predict(what)
        else:
            production.label(f"e{what}", f"p{what % 25}", ("egg",) if what % 11 == 0 else ("ham",))
        if dice.random() < 0.1:
            production.apply(*dice.sample([PREDICTIONS, FEEDBACK], dice.choice([1, 2])))
    production.apply()
    unmatched = {f"e{n}" for n in range(60) if n % 25 >= 20 or n % 11 == 0}
    assert applied(production) == ({f"e{n}" for n in range(60)} - unmatched, unmatched)


def test_old_predictions_are_forgotten_but_what_feedback_named_is_kept(world, production):
    production.predict("p1")
    production.predict("p2")
    production.label("e1", "p1", ("ham",))
    production.apply()
    assert forget_predictions(world.database, older_than=timedelta(0)) == 2
    production.label("e2", "p1", ("spam",))
    production.label("e3", "p2", ("spam",))
    production.apply()
    assert applied(production) == ({"e1", "e2"}, {"e3"})


def test_the_consumer_runs_in_threads_and_ends_when_told(world, production):
    consumer = FeedbackConsumer(world.log, world.database)
    consumer.start()
    production.label("e1", "p1")
    production.predict("p1")
    production.wait_until(lambda: applied(production) == ({"e1"}, set()))
    consumer.stop()
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(PredictionRow)) == 1
        assert session.get(AppliedOffset, (FEEDBACK, _partition(world))).next_offset == 1


def _partition(world):
    return next(partition for (_, partition), end in world.log.ends(FEEDBACK).items() if end)


def test_unmatched_feedback_is_listed_newest_first_in_pages(production):
    for number in range(5):
        production.label(f"e{number}", "p1")
    production.apply()
    first, token = production.feedback.unmatched(MODEL, Asked(size=3))
    second, end = production.feedback.unmatched(MODEL, Asked(size=3, token=token))
    assert [found.event_id for found in (*first, *second)] == ["e4", "e3", "e2", "e1", "e0"]
    assert end == ""
