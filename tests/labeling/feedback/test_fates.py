"""What becomes of odd feedback: each kind has one fate, which is counted, listed, and published as a metric."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from services.common.events.port import FEEDBACK, PREDICTIONS
from services.common.listing import Asked
from services.labeling.feedback import fates as keeping
from services.labeling.feedback.consumer import FeedbackConsumer
from services.labeling.feedback.handlers import Feedback
from services.labeling.feedback.regrowth import Regrowth
from services.labeling.feedback.storage import IssueRow
from services.labeling.label_sets.handlers import LabelSets
from services.labeling.labelers.handlers import Labelers
from services.labeling.votes.ledger import list_votes, standing_votes

MODEL = "projects/shop/models/spam"


@pytest.fixture
def cut(world, production, base_label_set):
    label_sets = LabelSets(world.database, world.objects, Labelers(world.database, world.objects))
    regrowth = Regrowth(world.database, world.datasets, label_sets, world.log)
    return lambda name: regrowth.cut(MODEL, base_label_set, production.ends(), request_id=name, fingerprint="f")


def issues(production, fate=""):
    """(event, fate, the label that it stands against), oldest first."""
    found, _ = production.feedback.issues(MODEL, fate=fate)
    return [(one.event_id, one.fate, one.other_classes) for one in reversed(found)]


def counted(production):
    return dict(production.feedback.stats(MODEL).fates)


def placed(world):
    with world.database.reading() as session:
        frame = standing_votes(session, world.dataset, None, None)
    return [classes for labeler, classes in zip(frame["labeler"], frame["classes"], strict=True) if "feedback" in labeler]


def metric(fate):
    return REGISTRY.get_sample_value("regrow_feedback_events_total", {"fate": fate}) or 0.0


def test_the_same_event_again_is_counted_and_changes_nothing(production):
    before = metric("REPEATED")
    production.predict("p1")
    for hour in range(3):
        production.label("e1", "p1", hour=hour)
    production.apply()
    stats = production.feedback.stats(MODEL)
    assert (stats.votes, counted(production), issues(production)) == (1, {"REPEATED": 2}, [])
    assert metric("REPEATED") == before + 2


def test_the_same_event_is_known_after_a_restart_and_weeks_later(world, production):
    production.predict("p1")
    production.label("e1", "p1")
    production.apply()
    production.consumer = FeedbackConsumer(world.log, world.database, keep_predictions=timedelta(0))
    time.sleep(0.01)
    production.predict("p2")
    production.label("e1", "p1")
    production.apply()
    stats = production.feedback.stats(MODEL)
    assert (stats.votes, stats.predictions, counted(production)) == (1, 0, {"REPEATED": 1})


def test_another_event_under_a_used_id_leaves_the_first_standing_and_is_listed(world, production):
    production.predict("p1")
    production.predict("p2")
    production.label("e1", "p1", ("ham",))
    production.label("e1", "p1", ("spam",))
    production.label("e2", "nothing", ("ham",))
    production.apply()
    production.label("e2", "p2", ("ham",))
    production.apply()
    assert issues(production, "REUSED_ID") == [("e1", "REUSED_ID", ("ham",)), ("e2", "REUSED_ID", ("ham",))]
    assert counted(production)["REUSED_ID"] == 2
    with world.database.reading() as session:
        (vote,) = list_votes(session, world.dataset, limit=10)
    assert vote.classes == ("ham",)


def test_two_sources_may_use_the_same_ids_for_predictions_and_for_features(production):
    production.predict("p1")
    for source in ("shop", "desk"):
        production.label("1", "p1", source=source)
        production.label("2", features={"comment": f"by {source}"}, source=source)
    production.apply()
    assert production.feedback.applied_events(MODEL) == (["1", "2", "1", "2"], [])
    assert counted(production) == {}


def test_features_in_another_order_are_the_same_event(production):
    production.label("e1", features={"comment": "a", "likes": 1})
    production.label("e1", features={"likes": 1, "comment": "a"})
    production.label("e1", features={"likes": 2, "comment": "a"})
    production.apply()
    assert counted(production) == {"REPEATED": 1, "REUSED_ID": 1}


def test_of_two_labels_of_a_source_the_one_observed_last_counts_whichever_came_last(world, production, cut):
    production.predict("p1")
    production.label("e1", "p1", ("spam",), hour=9)
    production.label("e2", "p1", ("ham",), hour=3)
    production.apply()
    cut("r1")
    assert issues(production) == [("e2", "AMENDED", ("spam",))]
    assert placed(world) == [("spam",)]
    with world.database.reading() as session:
        assert {vote.retracted is None for vote in list_votes(session, world.dataset, limit=2)} == {True, False}


def test_sources_that_disagree_are_both_votes_and_listed(world, production, cut):
    production.predict("p1")
    production.label("e1", "p1", ("spam",), source="shop")
    production.label("e2", "p1", ("spam",), source="desk")
    production.label("e3", "p1", ("ham",), source="bot")
    production.apply()
    cut("r1")
    assert issues(production) == [("e3", "DISAGREED", ("spam",))]
    assert sorted(placed(world)) == [("ham",), ("spam",), ("spam",)]


def test_a_label_after_its_regrowth_is_late_and_amends_at_the_next(world, production, cut):
    production.predict("p1")
    production.label("e1", "p1", ("ham",), hour=1)
    production.apply()
    cut("r1")
    production.label("e2", "p1", ("spam",), hour=2)
    production.apply()
    assert issues(production) == [("e2", "AMENDED", ("ham",)), ("e2", "LATE", ())]
    assert placed(world) == [("ham",)]
    cut("r2")
    assert placed(world) == [("spam",)]


def test_feedback_that_waits_for_its_prediction_is_listed_until_it_comes(production):
    production.label("e1", "p1")
    production.apply()
    assert issues(production) == [("e1", "UNKNOWN_PREDICTION", ())]
    production.predict("p1")
    production.apply()
    assert issues(production) == []
    assert counted(production) == {"UNKNOWN_PREDICTION": 1, "JOINED_LATER": 1}
    assert production.feedback.stats(MODEL).votes == 1


def test_feedback_about_a_prediction_that_is_too_old_to_be_kept_says_so_and_is_joined_all_the_same_if_it_comes(production):
    old = f"{int((time.time() - 31 * 86400) * 1000):012x}" + "0" * 20
    young = f"{int(time.time() * 1000):012x}" + "0" * 20
    for number, prediction in enumerate((old, young, "f" * 32)):
        production.label(f"e{number}", prediction)
    production.apply()
    assert [fate for _, fate, _ in issues(production)] == ["EXPIRED_PREDICTION", "UNKNOWN_PREDICTION", "UNKNOWN_PREDICTION"]
    production.predict(old)
    production.apply()
    assert production.feedback.stats(MODEL).votes == 1


def test_a_wrong_class_and_unreadable_features_are_listed_and_counted(production):
    production.predict("p1")
    production.label("e1", "p1", ("egg",))
    production.label("e2", features={"nonsense": 1})
    production.label("e3", "p1", spec="projects/shop/problemSpecs/gone")
    production.apply()
    assert [fate for _, fate, _ in issues(production)] == ["UNKNOWN_CLASS", "UNREADABLE_FEATURES", "UNKNOWN_SPEC"]
    assert counted(production) == {"UNKNOWN_CLASS": 1, "UNREADABLE_FEATURES": 1, "UNKNOWN_SPEC": 1}


def test_a_record_that_is_delivered_again_is_no_second_issue(world, production):
    production.predict("p1")
    production.label("e1", "p1", ("ham",))
    production.label("e1", "p1", ("spam",))
    production.label("e2", "p1", ("spam",))
    production.label("e3", "other")
    production.apply()
    before = issues(production), counted(production)
    for topic, handle in (
        (FEEDBACK, production.consumer.handle_feedback), (PREDICTIONS, production.consumer.handle_predictions),
    ):  # fmt: skip
        with closing(world.log.consumer([topic])) as reader:
            handle(reader.poll(timeout=timedelta(seconds=1)))
    assert (issues(production), counted(production)) == before


def test_issues_come_in_pages_newest_first_and_old_ones_go_while_the_counts_stay(world, production, monkeypatch):
    for number in range(5):
        production.label(f"e{number}", f"p{number}")
    production.apply()
    feedback = Feedback(world.database, world.log)
    first, token = feedback.issues(MODEL, Asked(size=3))
    second, end = feedback.issues(MODEL, Asked(size=3, token=token))
    assert [one.event_id for one in (*first, *second)] == ["e4", "e3", "e2", "e1", "e0"]
    assert end == ""
    monkeypatch.setattr(keeping, "FORGET_AT_ONCE", 3)
    assert [keeping.forget_issues(world.database, older_than=timedelta(0)) for _ in range(3)] == [3, 2, 0]
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(IssueRow)) == 0
    assert counted(production) == {"UNKNOWN_PREDICTION": 5}
    assert production.feedback.stats(MODEL).unmatched == 5
