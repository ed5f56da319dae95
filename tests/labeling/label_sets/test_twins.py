"""Appended rows that repeat a held-out row teach nothing: who trains on them knows the holdout's answers."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.frames.holdout import HoldoutRule
from services.common.frames.importing import Wish
from services.common.frames.kinds import Kind
from services.common.frames.label_sets import read_label_set
from services.common.spec import ProblemSpec
from services.labeling.datasets.intake import ImportOrder
from services.labeling.label_sets import twins
from services.labeling.label_sets.handlers import LabelSetOrder, LabelSets
from services.labeling.labelers.handlers import Labeler, Labelers
from services.labeling.labelers.rules import Human
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft
from services.labeling.votes.handlers import write_votes
from services.labeling.votes.rules import NewVote

SHOP = "projects/shop"
KINDS = {"key": Kind.ID, "text": Kind.TEXT, "seen": Kind.NUMERIC, "label": Kind.CATEGORICAL, "split": Kind.CATEGORICAL}
HELD, TAUGHT = (4, 9, 14, 19), 60
"""Some of the held-out rows, of which every fifth is one; and the number of the first row that is appended."""


@pytest.fixture
def label_sets(world):
    return LabelSets(world.database, world.objects, Labelers(world.database, world.objects))


@pytest.fixture
def shop(world):
    """A data set whose split column holds every fifth row out, and the order of a label set of it."""
    lines = ["key,text,seen,label,split"]
    lines += [f"k{i},text {i},{i},{'ab'[i % 2]},{'test' if i % 5 == 4 else 'train'}" for i in range(TAUGHT)]
    wish = Wish(kinds=KINDS, holdout=HoldoutRule(split_column="split"))
    order = ImportOrder(parent=SHOP, dataset_id="split", wish=wish)
    name = world.datasets.import_file(order, ["\n".join(lines).encode()]).name
    return name, spec(world, name, "split-spec")


def spec(world, dataset, name, **columns):
    wanted = ProblemSpec(name="", dataset=dataset, classes=(), inputs=(), target_column="label")
    return Specs(world.database, world.objects).create(SHOP, name, Draft(spec=wanted, **columns)).spec.name


def trained(world, label_sets, shop, **more):
    """The appended rows of a new label set, and its notes about them."""
    made = label_sets.create(LabelSetOrder(parent=shop[0], problem_spec=shop[1], **more))
    frame = read_label_set(world.objects, made.object_key)
    assert set(HELD) <= set(frame["row"][frame["holdout"]]), "the holdout is as it was"
    return [row for row in frame["row"][~frame["holdout"]] if row >= TAUGHT], [n for n in made.notes if "appended" in n]


def test_an_appended_row_that_repeats_a_held_out_row_is_not_trained_on(world, label_sets, shop):
    rows = [{"text": "text 4", "seen": 4, "label": "b"}, {"text": "text 4, or so", "seen": 4, "label": "a"}]
    world.datasets.append_rows(shop[0], rows)
    assert trained(world, label_sets, shop) == ([61], ["1 appended row repeats a held-out row and is not trained on."])


def test_case_white_space_ids_the_split_and_the_target_make_no_difference(world, label_sets, shop):
    twin = {"seen": 9, "label": "a", "split": "train"}
    rows = [{**twin, "text": text, "key": f"new {text}"} for text in ("text 9", " TEXT\t 9 ", "ｔｅｘｔ 9")]
    world.datasets.append_rows(shop[0], [*rows, {"text": "text 9", "seen": 10, "label": "a"}])
    assert trained(world, label_sets, shop) == ([63], ["3 appended rows repeat held-out rows and are not trained on."])


def test_what_models_dont_read_makes_no_difference(world, label_sets, shop):
    world.datasets.append_rows(shop[0], [{"text": "text 9", "label": "b"}, {"text": "text 14", "seen": 3, "label": "b"}])
    assert trained(world, label_sets, shop)[0] == [60, 61]
    narrow = shop[0], spec(world, shop[0], "narrow", excluded_columns=("seen",))
    assert trained(world, label_sets, narrow)[0] == []


def test_rows_that_repeat_training_rows_or_were_imported_are_trained_on(world, label_sets, shop):
    world.datasets.append_rows(shop[0], [{"text": "text 3", "seen": 3, "label": "b"}])
    assert trained(world, label_sets, shop) == ([60], [])


def test_a_twin_stays_out_after_a_change_of_kinds_and_in_every_version_that_has_it(world, label_sets, shop):
    world.datasets.append_rows(shop[0], [{"text": "text 14", "seen": 14.0, "label": "a"}])
    world.datasets.update_schema(shop[0], {"seen": Kind.CATEGORICAL})
    world.datasets.append_rows(shop[0], [{"text": "text 19", "seen": "19", "label": "a"}, {"text": "new", "label": "b"}])
    assert trained(world, label_sets, shop)[0] == [62]
    assert trained(world, label_sets, shop, dataset_version=f"{shop[0]}/versions/2")[0] == []
    assert trained(world, label_sets, shop, dataset_version=f"{shop[0]}/versions/1") == ([], [])


def test_votes_and_peoples_answers_on_a_twin_count_for_nothing(world, label_sets, shop):
    labelers = Labelers(world.database, world.objects)
    person = labelers.create(SHOP, "person", Labeler(name="", problem_spec=shop[1], definition=Human(gold=True))).name
    crowd = labelers.create(SHOP, "many", Labeler(name="", problem_spec=shop[1], definition=Human())).name
    world.datasets.append_rows(shop[0], [{"text": "text 4", "seen": 4}, {"text": "text 9", "seen": 9}, {"text": "new"}])
    with world.database.session() as session:
        write_votes(session, shop[0], [NewVote(row=row, labeler=by, classes=("a",)) for row in (60, 62) for by in (person,)])
        write_votes(session, shop[0], [NewVote(row=row, labeler=crowd, classes=("a",)) for row in (61, 62)])
    assert trained(world, label_sets, shop)[0] == [62]
    made = label_sets.create(LabelSetOrder(parent=shop[0], problem_spec=shop[1]))
    assert {summary.votes for summary in made.labeler_summaries if summary.labeler == crowd} == {1}


def test_nothing_is_read_where_nothing_was_appended(world, label_sets, shop, monkeypatch):
    monkeypatch.delattr(twins, "read_part")
    assert trained(world, label_sets, shop) == ([], [])


def test_a_rule_that_carves_by_content_has_no_twins_among_training_rows_either(world, label_sets):
    """By hash, without the target: the appended copy of each row is trained on just where its first one is."""
    version = world.datasets.version(world.dataset)
    content = world.datasets.load_rows(version, range(40)).drop(columns="__holdout")
    copies = [{**row, "posted": str(row["posted"])[:10]} for row in content.to_dict("records")]
    held = world.datasets.load_rows(version, range(40))["__holdout"].to_numpy()
    world.datasets.append_rows(world.dataset, copies)
    made = label_sets.create(LabelSetOrder(parent=world.dataset, problem_spec=world.spec))
    frame = read_label_set(world.objects, made.object_key)
    taught = frame["row"][~frame["holdout"] & (frame["row"] >= 60)].to_numpy() - 60
    assert held.any()
    assert np.array_equal(taught, np.flatnonzero(~held))
