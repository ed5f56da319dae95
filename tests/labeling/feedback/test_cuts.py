"""The cut of a regrowth: exact, repeatable, and whole, whatever dies on the way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from services.common.errors import EngineUnavailable, FailedPrecondition, InvalidField, NotFound, RequestIdReused
from services.common.events.port import FEEDBACK, PREDICTIONS
from services.common.frames.label_sets import read_label_set
from services.labeling.datasets.handlers import Datasets
from services.labeling.feedback import cuts
from services.labeling.feedback.handlers import forget_dataset
from services.labeling.feedback.regrowth import Regrowth
from services.labeling.label_sets.handlers import LabelSets, get_label_set
from services.labeling.labelers.handlers import Labelers
from services.labeling.votes import handlers as votes_handlers
from services.labeling.votes.ledger import list_votes, newest_position, standing_votes

MODEL = "projects/shop/models/spam"


@pytest.fixture
def regrowth(world):
    label_sets = LabelSets(world.database, world.objects, Labelers(world.database, world.objects))
    return Regrowth(world.database, world.datasets, label_sets, world.log)


@pytest.fixture
def cut(regrowth, production, base_label_set):
    def call(request_id="r1", offsets=None, model=MODEL, fingerprint="f"):
        wanted = production.ends() if offsets is None else offsets
        return regrowth.cut(model, base_label_set, wanted, request_id=request_id, fingerprint=fingerprint)

    return call


def latest(world):
    return world.datasets.version(world.dataset)


def rows(world, first=60):
    version = latest(world)
    frame = world.datasets.load_rows(version, range(first, version.row_count))
    return [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]


def placed(world):
    """(row, classes) of the feedback votes that count."""
    with world.database.reading() as session:
        frame = standing_votes(session, world.dataset, None, None)
    found = frame[frame["labeler"].str.contains("feedback")]
    return sorted((int(row), classes[0]) for row, classes in zip(found["row"], found["classes"], strict=True))


def labels(world, name):
    """row -> index of the most probable class, of the appended rows."""
    with world.database.reading() as session:
        label_set = get_label_set(session, name)
    frame = read_label_set(world.objects, label_set.object_key)
    return {int(r): int(p.argmax()) for r, p in zip(frame["row"], frame["probabilities"], strict=True) if r >= 60}


def send(production, count=3, first=0, classes=("spam",)):
    for number in range(first, first + count):
        production.predict(f"p{number}")
        production.label(f"e{number}", f"p{number}", classes)


def first_predictions(production, count):
    """The first predictions on the log, read by nobody's group."""
    with closing(production.world.log.consumer([PREDICTIONS], start="earliest")) as reader:
        return reader.poll(timeout=timedelta(seconds=5), max_records=count)


def reason(call):
    with pytest.raises(FailedPrecondition) as caught:
        call()
    return caught.value.reason


def test_a_cut_appends_the_rows_of_feedback_and_labels_them(world, production, cut):
    send(production)
    production.apply()
    made = cut()
    assert (made.appended_rows, made.feedback_votes, made.dataset_version) == (3, 3, f"{world.dataset}/versions/2")
    assert placed(world) == [(60, "spam"), (61, "spam"), (62, "spam")]
    assert labels(world, made.label_set) == {60: 1, 61: 1, 62: 1}
    stats = production.feedback.stats(MODEL)
    assert (stats.votes, stats.used) == (3, 3)


def test_appended_rows_are_fitted_to_the_columns_and_never_held_out(world, production, cut):
    production.predict("p0", comment=7, likes="many", posted="2026-02-03", label="1", unknown="x")
    production.predict("p1", likes=2.5)
    production.label("e0", "p0")
    production.label("e1", "p1")
    production.label("e2", features={"comment": "inline", "likes": "12", "posted": {"a": [1]}})
    production.apply()
    cut()
    first, second, third = rows(world)
    assert (first["comment"], str(first["posted"])[:10], first["label"]) == ("7", "2026-02-03", None)
    assert first["likes"] != first["likes"]
    assert (second["comment"], second["likes"], second["label"]) == (None, 2.5, None)
    assert (third["comment"], third["likes"]) == ("inline", 12)
    assert not any(row["__holdout"] for row in (first, second, third))
    assert latest(world).origin == "regrowth"


def test_feedback_about_a_held_out_row_brings_a_row_that_is_not_trained_on(world, production, cut):
    version = latest(world)
    frame = world.datasets.load_rows(version, range(version.row_count))
    held = frame[frame["__holdout"]].iloc[0]
    twin = {"comment": held["comment"].upper(), "likes": held["likes"], "posted": str(held["posted"])[:10]}
    production.predict("twin", **twin)
    production.label("e", "twin")
    send(production, 1)
    production.apply()
    made = cut()
    assert (made.appended_rows, made.feedback_votes) == (2, 2), "the feedback is kept"
    assert labels(world, made.label_set) == {61: 1}
    with world.database.reading() as session:
        notes = get_label_set(session, made.label_set).notes
    assert "1 appended row repeats a held-out row and is not trained on." in notes


def test_a_cut_waits_until_all_records_before_it_are_applied(production, cut):
    send(production)
    assert reason(cut) == "NOT_APPLIED_YET"
    production.apply(PREDICTIONS)
    assert reason(cut) == "NOT_APPLIED_YET"
    production.apply(FEEDBACK)
    assert cut().feedback_votes == 3


def test_a_cut_waits_for_predictions_on_the_log_while_feedback_about_them_waits(production, cut):
    send(production)
    production.apply(FEEDBACK)
    assert production.feedback.stats(MODEL).unmatched == 3
    assert reason(cut) == "NOT_APPLIED_YET"
    production.predict("one that came after the cut was asked for")
    production.consumer.handle_predictions(first_predictions(production, 3))
    assert cut().feedback_votes == 3


def test_feedback_about_a_prediction_that_never_was_does_not_hold_a_cut_up(production, cut):
    send(production)
    production.label("stray", "never was")
    production.apply()
    assert cut().feedback_votes == 3


def test_a_dead_letter_before_the_cut_does_not_hold_it_up_for_ever(production, cut):
    send(production, 1)
    production.poison()
    production.apply(PREDICTIONS)
    production.run(FEEDBACK)
    assert cut().feedback_votes == 1


def test_a_model_without_feedback_before_the_cut_is_told_so(world, production, cut):
    send(production)
    production.apply()
    assert reason(lambda: cut(model="projects/shop/models/other")) == "NO_FEEDBACK"
    assert reason(lambda: cut(offsets={})) == "NO_FEEDBACK"
    assert latest(world).number == 1


def test_what_lies_at_or_after_the_offsets_does_not_count(world, production, cut):
    send(production, 2)
    offsets = production.ends()
    production.label("late", "p0", ("ham",))
    send(production, 2, first=2)
    production.apply()
    made = cut(offsets=offsets)
    assert (made.appended_rows, made.feedback_votes) == (2, 2)
    assert placed(world) == [(60, "spam"), (61, "spam")]


def test_two_cuts_in_a_row_append_each_row_once_and_the_second_counts_both(world, production, cut):
    send(production, 2)
    production.apply()
    first = cut("r1")
    send(production, 3, first=2, classes=("ham",))
    production.apply()
    second = cut("r2")
    assert (first.appended_rows, second.appended_rows, second.feedback_votes) == (2, 3, 5)
    assert latest(world).row_count == 65
    assert labels(world, second.label_set) == {60: 1, 61: 1, 62: 0, 63: 0, 64: 0}
    assert labels(world, first.label_set) == {60: 1, 61: 1}


def test_a_late_label_amends_the_row_that_is_there_and_both_entries_stay(world, production, cut):
    send(production, 2)
    production.apply()
    first = cut("r1")
    production.label("late", "p0", ("ham",))
    production.apply()
    assert placed(world) == [(60, "spam"), (61, "spam")]
    second = cut("r2")
    assert (second.appended_rows, second.feedback_votes, latest(world).row_count) == (0, 2, 62)
    assert placed(world) == [(60, "ham"), (61, "spam")]
    with world.database.reading() as session:
        entries = list_votes(session, world.dataset, limit=100, row=60)
        before = standing_votes(session, world.dataset, None, first.up_to)
    assert [(vote.classes, vote.retracted is None) for vote in entries] == [(("ham",), True), (("spam",), False)]
    assert ("ham",) not in [c for r, c in zip(before["row"], before["classes"], strict=True) if r == 60]


def test_the_later_of_two_labels_within_one_cut_stands(world, production, cut):
    send(production, 1)
    production.label("again", "p0", ("ham",))
    production.apply()
    made = cut()
    assert (made.appended_rows, made.feedback_votes) == (1, 1)
    assert placed(world) == [(60, "ham")]
    assert production.feedback.stats(MODEL).used == 2


def test_two_sources_about_one_prediction_vote_on_one_row(world, production, cut):
    send(production, 1)
    production.label("other", "p0", ("ham",), source="support")
    production.apply()
    assert cut().appended_rows == 1
    assert placed(world) == [(60, "ham"), (60, "spam")]


def test_a_retracted_label_brings_no_row(world, production, cut):
    send(production, 2)
    production.apply()
    with world.database.session() as session:
        newest = list_votes(session, world.dataset, limit=1)[0]
        votes_handlers.retract_votes(session, world.dataset, [f"{world.dataset}/votes/{newest.position}"], why="")
    assert cut().appended_rows == 1


def test_a_label_that_is_matched_late_is_counted_by_the_next_cut(world, production, cut):
    send(production, 1)
    production.label("early", "p9")
    production.apply()
    assert cut("r1").feedback_votes == 1
    production.predict("p9")
    production.apply()
    made = cut("r2")
    assert (made.appended_rows, made.feedback_votes) == (1, 2)


def test_a_repeated_call_answers_the_same_and_another_content_is_refused(world, production, cut):
    send(production)
    production.apply()
    first = cut()
    send(production, 2, first=3)
    production.apply()
    assert cut() == first
    assert latest(world).row_count == 63
    with pytest.raises(RequestIdReused):
        cut(fingerprint="other")


def test_a_cut_before_one_that_was_made_is_refused(production, cut):
    send(production, 1)
    early = production.ends()
    send(production, 1, first=1)
    production.apply()
    cut("r1")
    assert reason(lambda: cut("r2", offsets=early)) == "CUT_BEHIND"


def test_a_label_set_of_another_project_or_none_is_refused(world, regrowth, production):
    send(production)
    production.apply()
    with pytest.raises(InvalidField):
        regrowth.cut(MODEL, "projects/other/datasets/d/labelSets/l", production.ends(), request_id="r", fingerprint="")
    with pytest.raises(NotFound):
        regrowth.cut(MODEL, f"{world.dataset}/labelSets/none", production.ends(), request_id="r", fingerprint="")
    with pytest.raises(InvalidField):
        regrowth.cut(MODEL, f"{world.dataset}/labelSets/none", production.ends(), request_id="", fingerprint="")


STEPS = [
    (cuts, "place", "before"),  # planned, nothing done
    (cuts, "_place", "after"),  # in the transaction that appends the rows
    (cuts, "place", "after"),  # rows there, no label set
    (LabelSets, "create", "after"),  # label set there, not noted
]
MORE_STEPS = [
    (cuts, "plan", "before"),
    (cuts, "plan", "after"),
    (cuts, "_place_votes", "before"),
    (cuts, "newest_position", "before"),
    (LabelSets, "create", "before"),
    (cuts, "finish", "before"),
    (cuts, "finish", "after"),
]


@pytest.mark.parametrize(
    ("owner", "step", "when"), [*STEPS, *(pytest.param(*step, marks=pytest.mark.slow) for step in MORE_STEPS)]
)
def test_a_cut_that_dies_at_any_step_is_finished_by_the_repeated_call(world, production, cut, monkeypatch, owner, step, when):
    send(production, 2)
    production.apply()
    cut("r0")
    send(production, 2, first=2)
    production.label("late", "p0", ("ham",))
    production.apply()
    died = _die_once(monkeypatch, owner, step, when)
    with pytest.raises(EngineUnavailable):
        cut("r1")
    assert died.is_set()
    send(production, 1, first=4)
    production.apply()
    made = cut("r1", offsets=_without_last(production))
    assert (made.appended_rows, made.feedback_votes, latest(world).row_count) == (2, 4, 64)
    assert placed(world) == [(60, "ham"), (61, "spam"), (62, "spam"), (63, "spam")]
    assert labels(world, made.label_set) == {60: 0, 61: 1, 62: 1, 63: 1}
    following = cut("r2")
    assert (following.appended_rows, latest(world).row_count) == (1, 65)
    assert len({rows_["comment"] for rows_ in rows(world)}) == 5


def _without_last(production):
    ends = production.ends()
    return {key: end - 1 if end else 0 for key, end in ends.items()}


def _die_once(monkeypatch, owner, step, when):
    died = threading.Event()
    real = getattr(owner, step)

    def dying(*args, **kwargs):
        if died.is_set():
            return real(*args, **kwargs)
        if when == "after":
            real(*args, **kwargs)
        died.set()
        raise EngineUnavailable("power", "cut")

    monkeypatch.setattr(owner, step, dying)
    return died


def test_another_cut_first_finishes_one_that_was_left_half_done(world, production, cut, monkeypatch):
    send(production, 2)
    production.apply()
    _die_once(monkeypatch, cuts, "place", "before")
    with pytest.raises(EngineUnavailable):
        cut("r1")
    send(production, 1, first=2)
    production.apply()
    second = cut("r2")
    assert (second.appended_rows, second.feedback_votes, latest(world).row_count) == (1, 3, 63)
    first = cut("r1", offsets=_without_last(production))
    assert (first.appended_rows, first.feedback_votes, latest(world).row_count) == (2, 2, 63)


def test_twins_of_a_call_and_other_cuts_at_once_append_each_row_once(world, production, cut):
    send(production, 20)
    production.apply()
    requests = ["r1", "r1", "r1", "r2", "r3"]
    with ThreadPoolExecutor(len(requests)) as pool:
        made = list(zip(requests, pool.map(cut, requests), strict=True))
    assert latest(world).row_count == 80
    assert len({found.label_set for request_id, found in made if request_id == "r1"}) == 1
    assert sum({request_id: found.appended_rows for request_id, found in made}.values()) == 20


def test_deleting_the_data_set_takes_its_votes_and_cuts_along(world, production, cut):
    send(production, 2)
    production.apply()
    cut()
    Datasets(world.database, world.objects, world.folder / "scratch", forget=[forget_dataset]).delete(world.dataset, force=True)
    assert production.feedback.applied_events(MODEL) == ([], [])
    with world.database.reading() as session:
        assert newest_position(session, world.dataset) == 0
