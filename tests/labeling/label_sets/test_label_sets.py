from __future__ import annotations

import csv
import io
import json
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidField,
    NotFound,
    RequestIdReused,
    TooLarge,
)
from services.common.frames.importing import Wish
from services.common.frames.kinds import HOLDOUT, ROW, Kind
from services.common.frames.label_sets import read_label_set
from services.common.frames.sniffing import Format
from services.common.listing import FIRST_PAGE, Asked
from services.common.spec import ClassDefinition, ProblemSpec, Task
from services.labeling.aggregation.choice import Method
from services.labeling.datasets.intake import ImportOrder
from services.labeling.label_sets import making
from services.labeling.label_sets.handlers import LabelSetOrder, LabelSets
from services.labeling.labelers.handlers import Labeler, Labelers, ensure_feedback_labeler
from services.labeling.labelers.rules import Human, Imported, Keyword, Regex
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft
from services.labeling.votes.handlers import write_votes
from services.labeling.votes.ledger import newest_position, retract
from services.labeling.votes.rules import Drawn, NewVote
from services.labeling.votes.storage import insert_entry

SHOP = "projects/shop"
FREE = Keyword(column="comment", keywords=("free",), class_name="spam")
SONG = Regex(column="comment", pattern="song", class_name="ham")


@pytest.fixture
def labelers(world):
    return Labelers(world.database, world.objects, world.folder / "scratch")


@pytest.fixture
def label_sets(world, labelers):
    return LabelSets(world.database, world.objects, labelers)


def order(world, **more):
    return LabelSetOrder(**{"parent": world.dataset, "problem_spec": world.spec, **more})


def applied(world, labelers, **definitions):
    names = []
    for name, definition in definitions.items():
        draft = Labeler(name="", problem_spec=world.spec, definition=definition)
        names.append(labelers.create(SHOP, name, draft).name)
    labelers.apply(SHOP, f"{world.dataset}/versions/latest", names)
    return names


def vote(world, labeler, row, *classes, **more):
    with world.database.session() as session:
        write_votes(session, world.dataset, [NewVote(row=row, labeler=labeler, classes=classes, **more)])


def split(world, dataset=None):
    """(training rows, held-out rows)."""
    version = world.datasets.version(dataset or world.dataset)
    rows = [
        (row, held)
        for batch in world.datasets.read(version, [])
        for row, held in zip(batch.column(ROW).to_pylist(), batch.column(HOLDOUT).to_pylist(), strict=True)
    ]
    return [row for row, held in rows if not held], [row for row, held in rows if held]


def stored(world, label_set):
    return read_label_set(world.objects, label_set.object_key).set_index("row")


def truth(row):
    return [0.0, 1.0] if row % 3 == 0 else [1.0, 0.0]


def test_the_target_column_alone_makes_gold_on_both_sides(world, label_sets):
    made = label_sets.create(order(world))
    training, held = split(world)
    frame = stored(world, made)
    assert set(frame.index[~frame["holdout"]]) == {row for row in training if row < 40}
    assert set(frame.index[frame["holdout"]]) == {row for row in held if row < 40}
    assert frame["gold"].all()
    assert not frame["covered"].any()
    assert all(frame.loc[row, "probabilities"].tolist() == truth(row) for row in frame.index)
    assert (made.training_rows, made.gold_rows) == (len(frame) - made.holdout_rows,) * 2
    assert made.coverage == pytest.approx(made.training_rows / len(training))
    counts = {one.class_name: (one.training_rows, one.gold_rows, one.holdout_rows) for one in made.class_counts}
    assert counts["spam"][0] == counts["spam"][1] == len([row for row in training if row < 40 and row % 3 == 0])
    assert any("Fewer than 30 gold holdout rows" in note for note in made.notes)


def test_votes_label_training_rows_and_never_the_holdout(world, labelers, label_sets):
    applied(world, labelers, free=FREE, song=SONG)
    made = label_sets.create(order(world, ignore_target_column=True))
    training, held = split(world)
    frame = stored(world, made)
    assert set(frame.index[~frame["holdout"]]) == set(training)
    assert not frame["gold"][~frame["holdout"]].any(), "the target is left out on training rows"
    assert set(frame.index[frame["holdout"]]) == {row for row in held if row < 40}, "and kept on held-out ones"
    assert frame["votes"][frame["holdout"]].sum() == 0
    assert made.method_used is Method.MAJORITY, "the two never vote on the same row"
    assert made.conflict == 0
    assert made.coverage == 1
    assert all(frame.loc[row, "probabilities"].tolist() == truth(row) for row in training)
    assert {summary.gold_accuracy for summary in made.labeler_summaries} == {None}


def test_gold_overrides_votes_and_measures_them(world, labelers, label_sets):
    names = applied(world, labelers, free=FREE, everything=Regex(column="comment", pattern=".", class_name="spam"))
    made = label_sets.create(order(world, method=Method.MAJORITY))
    frame = stored(world, made)
    training, _ = split(world)
    gold = [row for row in training if row < 40]
    assert all(frame.loc[row, "probabilities"].tolist() == truth(row) for row in gold)
    assert all(frame.loc[row, "covered"] and frame.loc[row, "gold"] for row in gold)
    spam = len([row for row in gold if row % 3 == 0])
    summaries = {summary.labeler: summary for summary in made.labeler_summaries}
    everything, free = summaries[names[1]], summaries[names[0]]
    assert everything.gold_votes == len(gold)
    assert everything.gold_accuracy == pytest.approx(spam / len(gold))
    assert everything.gold_accuracy_low < spam / len(gold) < everything.gold_accuracy_high
    assert free.gold_accuracy == 1
    assert free.coverage == pytest.approx(len([r for r in training if r % 3 == 0]) / len(training))
    assert made.gold_accuracy == pytest.approx(spam / len(gold)), "measured before gold overrides"


def test_a_persons_gold_corrects_the_target_but_not_on_the_holdout(world, label_sets):
    training, held = split(world)
    corrected, kept = next(r for r in training if r < 40 and r % 3), next(r for r in held if r < 40)
    open_row = next((r for r in held if r >= 40), None)
    for row in (corrected, kept, *([open_row] if open_row is not None else [])):
        vote(world, world.human, row, "spam" if row % 3 else "ham")
    frame = stored(world, label_sets.create(order(world)))
    assert frame.loc[corrected, "probabilities"].tolist() == [0, 1]
    assert frame.loc[kept, "probabilities"].tolist() == truth(kept)
    if open_row is not None:
        assert frame.loc[open_row, "gold"], "where the column says nothing, a person's answer counts"


def test_contradicting_gold_answers_are_no_gold_and_a_majority_decides(world, label_sets):
    training, _ = split(world)
    tied, decided = [row for row in training if row >= 40][:2]
    for row, answers in ((tied, ("ham", "spam")), (decided, ("spam", "ham", "spam"))):
        for index, answer in enumerate(answers):
            vote(world, world.human, row, answer, annotator=f"p{index}", drawn=Drawn.RANDOM)
    made = label_sets.create(order(world))
    frame = stored(world, made)
    assert tied not in frame.index
    assert frame.loc[decided, "probabilities"].tolist() == [0, 1]
    assert any("1 rows have contradicting gold answers" in note for note in made.notes)


def test_only_gold_drawn_at_random_estimates(world, labelers, label_sets):
    mine = order(world, ignore_target_column=True, labelers=(*applied(world, labelers, free=FREE), world.human))
    training, _ = split(world)
    rows = [row for row in training if row >= 40 and row % 3 == 0]
    vote(world, world.human, rows[0], "spam", drawn=Drawn.GUIDED)
    vote(world, world.human, next(r for r in training if r % 3), "ham", drawn=Drawn.GUIDED)
    picked = label_sets.create(mine)
    assert picked.labeler_summaries[0].gold_votes == 1
    assert picked.labeler_summaries[0].gold_accuracy is None
    assert picked.gold_accuracy is None
    assert any("weren't drawn at random" in note for note in picked.notes)
    vote(world, world.human, rows[1], "spam", drawn=Drawn.RANDOM)
    drawn = label_sets.create(mine)
    assert drawn.labeler_summaries[0].gold_accuracy == 1
    assert drawn.gold_accuracy == 1


def test_overlapping_labelers_are_modelled_and_their_accuracies_told(world, labelers, label_sets):
    definitions = {f"l{i}": d for i, d in enumerate((FREE, SONG, Regex(column="comment", pattern="win", class_name="spam")))}
    applied(world, labelers, **definitions, wrong=Regex(column="comment", pattern="[0-3]$", class_name="ham"))
    made = label_sets.create(order(world, ignore_target_column=True))
    assert made.method_used is Method.DAWID_SKENE
    learned = {s.labeler.rpartition("/")[2]: s.learned_accuracy for s in made.labeler_summaries}
    assert learned["l0"] > learned["wrong"]
    frame = stored(world, made)
    training, _ = split(world)
    assert all(frame.loc[row, "probabilities"].argmax() == (row % 3 == 0) for row in training)
    assert made.conflict > 0


def test_a_label_set_of_an_earlier_position_forgets_what_came_later(world, label_sets):
    training, _ = split(world)
    row, later = [row for row in training if row >= 40][:2]
    vote(world, world.human, row, "spam")
    with world.database.reading() as session:
        position = newest_position(session, world.dataset)
    vote(world, world.human, later, "ham")
    with world.database.session() as session:
        retract(session, world.dataset, [position])
    now, then = label_sets.create(order(world)), label_sets.create(order(world), up_to=position)
    assert row in stored(world, then).index
    assert later not in stored(world, then).index
    assert later in stored(world, now).index
    assert row not in stored(world, now).index
    assert then.ledger_position == position
    assert label_sets.create(order(world), up_to=position).digest == then.digest, "the same cut is the same bytes"


def test_labelers_that_were_applied_vote_on_appended_rows_others_are_left_out(world, labelers, label_sets):
    applied(world, labelers, free=FREE)
    never = labelers.create(SHOP, "never", Labeler(name="", problem_spec=world.spec, definition=SONG))
    world.datasets.append_rows(world.dataset, [{"comment": "free beer"}])
    made = label_sets.create(order(world))
    assert stored(world, made).loc[60, "probabilities"].tolist() == [0, 1]
    assert any("Not applied to this data set yet, so left out: 'never'" in note for note in made.notes)
    assert never.name not in [summary.labeler for summary in made.labeler_summaries]


def test_feedback_votes_count_once_they_have_a_row(world, label_sets):
    training, _ = split(world)
    row = next(row for row in training if row >= 40)
    with world.database.session() as session:
        source = ensure_feedback_labeler(session, SHOP, world.spec, "app").name
        common = {"kind": "vote", "dataset": world.dataset, "labeler": source, "classes": '["spam"]', "drawn": "found"}
        insert_entry(session, **common, row=row, vote_id="a")
        insert_entry(session, **common, row=None, vote_id="b", subject="event:b")
    frame = stored(world, label_sets.create(order(world)))
    assert frame.loc[row, "probabilities"].tolist() == [0, 1]
    assert frame.loc[row, "covered"]
    assert not frame.loc[row, "gold"]


def test_named_labelers_count_alone_and_retired_ones_dont(world, labelers, label_sets):
    free, song = applied(world, labelers, free=FREE, song=SONG)
    made = label_sets.create(order(world, labelers=(free,)))
    assert [summary.labeler for summary in made.labeler_summaries] == [free]
    labelers.retire(song)
    later = label_sets.create(order(world, labelers=(free, song)))
    assert [summary.labeler for summary in later.labeler_summaries] == [free]
    assert "Retired, so left out: song." in later.notes
    assert song not in [s.labeler for s in label_sets.create(order(world)).labeler_summaries]
    with pytest.raises(NotFound):
        label_sets.create(order(world, labelers=(f"{SHOP}/labelers/nope",)))


def test_votes_of_a_crowd_are_combined(world, label_sets):
    training, _ = split(world)
    row = next(row for row in training if row >= 40)
    for index, answer in enumerate(("spam", "spam", "ham")):
        vote(world, world.crowd, row, answer, annotator=f"w{index}")
    made = label_sets.create(order(world, method=Method.SOFT_MAJORITY))
    assert stored(world, made).loc[row, "probabilities"] == pytest.approx([1 / 3, 2 / 3])
    assert stored(world, made).loc[row, "votes"] == 1, "one labeler has answered"
    assert made.conflict == 1


def test_without_any_label_there_is_no_label_set(world, label_sets):
    with pytest.raises(FailedPrecondition) as caught:
        label_sets.create(order(world, ignore_target_column=True))
    assert caught.value.reason == "NO_LABELS"


def own(world, header, rows, *, target="", classes=(), **more):
    """A data set and a spec of their own; answers their names."""
    kinds = {"text": Kind.TEXT, "label": Kind.CATEGORICAL}
    wish = Wish(kinds={name: kind for name, kind in kinds.items() if name in header.split(",")})
    dataset = world.datasets.import_file(
        ImportOrder(parent=SHOP, dataset_id="own", wish=wish), ["\n".join([header, *rows]).encode()]
    )
    wanted = ProblemSpec(name="", dataset=dataset.name, classes=tuple(classes), inputs=(), target_column=target, **more)
    return dataset.name, Specs(world.database, world.objects).create(SHOP, "own", Draft(spec=wanted)).spec.name


def test_gold_of_one_class_only_is_refused(world, labelers, label_sets):
    classes = [ClassDefinition(name="a"), ClassDefinition(name="b")]
    dataset, spec = own(world, "text,label", [f"row {i},a" for i in range(30)], target="label", classes=classes)
    mine = LabelSetOrder(parent=dataset, problem_spec=spec)
    with pytest.raises(FailedPrecondition, match="All 30 gold labels are 'a'") as caught:
        label_sets.create(mine)
    assert caught.value.reason == "ONE_CLASS"


def test_votes_for_one_class_only_are_refused(world, labelers, label_sets):
    classes = [ClassDefinition(name="a"), ClassDefinition(name="b")]
    dataset, spec = own(world, "text", [f"row {i}" for i in range(30)], classes=classes)
    definition = Regex(column="text", pattern="row", class_name="a")
    labeler = labelers.create(SHOP, "rows", Labeler(name="", problem_spec=spec, definition=definition))
    labelers.apply(SHOP, f"{dataset}/versions/1", [labeler.name])
    with pytest.raises(FailedPrecondition, match="All labels are 'a'"):
        label_sets.create(LabelSetOrder(parent=dataset, problem_spec=spec))


def test_multi_label_gold_and_votes(world, labelers, label_sets):
    said = {3: "R|B", 5: "R"}
    rows = [f"row {i} {'red' if i % 2 else ''} {'big' if i % 3 == 0 else ''},{said.get(i, '')}" for i in range(60)]
    classes = [ClassDefinition(name="R"), ClassDefinition(name="B")]
    dataset, spec = own(world, "text,label", rows, target="label", classes=classes, task=Task.MULTI_LABEL)
    for name, pattern, cls in (("red", "red", "R"), ("big", "big", "B")):
        definition = Regex(column="text", pattern=pattern, class_name=cls)
        labelers.create(SHOP, name, Labeler(name="", problem_spec=spec, definition=definition))
    crowd = labelers.create(SHOP, "workers", Labeler(name="", problem_spec=spec, definition=Imported())).name
    labelers.apply(SHOP, f"{dataset}/versions/1", problem_spec=spec)
    training, _ = split(world, dataset)
    blank = next(row for row in training if row > 6 and row % 2 == 0 and row % 3)
    with world.database.session() as session:
        write_votes(session, dataset, [NewVote(row=blank, labeler=crowd, classes=())])
    made = label_sets.create(LabelSetOrder(parent=dataset, problem_spec=spec, method=Method.MAJORITY))
    frame = stored(world, made)
    for row in training:
        if row in (3, 5):
            assert frame.loc[row, "probabilities"].tolist() == ([1, 1] if row == 3 else [1, 0])
        elif row % 2 or row % 3 == 0:
            assert frame.loc[row, "probabilities"].tolist() == [row % 2, row % 3 == 0]
    assert frame.loc[blank, "probabilities"].tolist() == [0, 0], "somebody said that no class fits"
    content = b"".join(label_sets.export(made.name, Format.CSV)).decode()
    shown = {int(r["row"]): r["label_2"] for r in csv.DictReader(io.StringIO(content))}
    assert shown[training[-1]] == "|".join(n for n, yes in (("R", training[-1] % 2), ("B", training[-1] % 3 == 0)) if yes)
    if 3 in training:
        assert shown[3] == "R|B"


@pytest.mark.slow
def test_ten_thousand_classes_make_a_label_set_and_too_many_rows_a_clear_refusal(world, labelers, label_sets, monkeypatch):
    classes = [ClassDefinition(name=f"c{i}") for i in range(10_000)]
    rows = [f"row {i},c{i * 37 % 10_000}" for i in range(40)]
    dataset, spec = own(world, "text,label", rows, target="label", classes=classes)
    mine = LabelSetOrder(parent=dataset, problem_spec=spec)
    frame = stored(world, label_sets.create(mine))
    assert frame.loc[7, "probabilities"].argmax() == 7 * 37
    monkeypatch.setattr(making, "MOST_CELLS", 100_000)
    with pytest.raises(TooLarge, match="rows by 10,000 classes is larger than the limit of 100,000 probabilities"):
        label_sets.create(mine)


def test_a_repeated_call_answers_the_first_label_set(world, label_sets):
    first = label_sets.create(order(world), request_id="r", fingerprint="f")
    assert label_sets.create(order(world), request_id="r", fingerprint="f") == first
    with pytest.raises(RequestIdReused):
        label_sets.create(order(world), request_id="r", fingerprint="g")
    assert label_sets.create(order(world)).name != first.name
    label_sets.create(order(world, label_set_id="mine"))
    with pytest.raises(AlreadyExists):
        label_sets.create(order(world, label_set_id="mine"))


def test_of_racing_twins_one_makes_the_label_set(world, label_sets):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(label_sets.create(order(world), request_id="r", fingerprint="f").name))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert len(label_sets.list_label_sets(world.dataset, FIRST_PAGE)[0]) == 1


def test_what_doesnt_belong_together_is_refused(world, label_sets):
    for wrong, field in (
        ({"dataset_version": f"{SHOP}/datasets/else/versions/1"}, "dataset_version"),
        ({"problem_spec": "projects/else/problemSpecs/x"}, "problemSpecs"),
        ({"label_set_id": "Not An Id"}, "label_set_id"),
    ):
        with pytest.raises((InvalidField, NotFound), match=field):
            label_sets.create(order(world, **wrong))
    with pytest.raises(NotFound):
        label_sets.create(order(world, dataset_version=f"{world.dataset}/versions/99"))
    wanted = ProblemSpec(name="", dataset=world.dataset, classes=(), inputs=(), target_column="label")
    other = Specs(world.database, world.objects).create(SHOP, "two", Draft(spec=wanted))
    with pytest.raises(InvalidField, match="votes for"):
        label_sets.create(order(world, problem_spec=other.spec.name, labelers=(world.crowd,)))


@pytest.mark.parametrize("file_format", list(Format))
def test_an_export_joins_each_row_with_its_label(world, labelers, label_sets, file_format):
    applied(world, labelers, free=FREE, song=SONG)
    made = label_sets.create(order(world))
    content = b"".join(label_sets.export(made.name, file_format))
    match file_format:
        case Format.PARQUET:
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
        case Format.JSONL:
            rows = [json.loads(line) for line in content.splitlines()]
        case _:
            rows = list(csv.DictReader(io.StringIO(content.decode()), delimiter="\t" if file_format is Format.TSV else ","))
    assert len(rows) == made.training_rows + made.holdout_rows
    for row in rows:
        number = int(float(row["row"]))
        assert row["comment"].endswith(f" {number}")
        assert row["label_2"] == ("spam" if number % 3 == 0 else "ham"), "the data has a column 'label' of its own"
        assert float(row["probability_spam"]) == (number % 3 == 0)
        assert str(row["gold"]).lower() == str(number < 40).lower()


def test_label_sets_are_listed_new_to_old(world, label_sets):
    names = [label_sets.create(order(world)).name for _ in range(3)]
    found, token = label_sets.list_label_sets(world.dataset, Asked(size=2))
    assert [one.name for one in found] == names[:0:-1]
    assert [one.name for one in label_sets.list_label_sets(world.dataset, Asked(size=2, token=token))[0]] == names[:1]
    assert label_sets.get(names[0]).class_counts == found[0].class_counts
    with pytest.raises(NotFound):
        label_sets.get(f"{world.dataset}/labelSets/nope")
    with pytest.raises(NotFound):
        label_sets.list_label_sets(f"{SHOP}/datasets/nope", FIRST_PAGE)


def test_gold_labelers_of_people_show_no_accuracy_of_their_own(world, label_sets):
    training, _ = split(world)
    vote(world, world.human, training[0], "spam")
    made = label_sets.create(order(world))
    assert world.human not in [summary.labeler for summary in made.labeler_summaries]
    assert Human(gold=True).kind == "human"
    assert np.isclose(made.coverage, made.training_rows / len(training))
