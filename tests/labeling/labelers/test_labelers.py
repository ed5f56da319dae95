from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from services.common.errors import AlreadyExists, InvalidField, InvalidFields, NotFound, UnsafeExpression
from services.common.frames.importing import Wish
from services.common.frames.kinds import Kind
from services.common.frames.parquet import read_manifest
from services.common.listing import FIRST_PAGE, Asked
from services.common.objects import DATASETS
from services.common.spec import ClassDefinition, ProblemSpec, Task
from services.labeling.datasets.intake import ImportOrder
from services.labeling.labelers import handlers
from services.labeling.labelers.blocks import read_block
from services.labeling.labelers.handlers import Labeler, Labelers, ensure_feedback_labeler
from services.labeling.labelers.patterns import keyword_pattern, matches
from services.labeling.labelers.previewing import Previewing
from services.labeling.labelers.rules import ColumnValue, Feedback, Human, Imported, Keyword, Regex, Sql
from services.labeling.labelers.storage import blocks_of, schema_digest
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft
from services.labeling.votes.handlers import write_votes
from services.labeling.votes.rules import NewVote

SHOP = "projects/shop"


@pytest.fixture
def labelers(world):
    return Labelers(world.database, world.objects, world.folder / "scratch")


@pytest.fixture
def previewing(world, labelers):
    return Previewing(world.database, world.objects, labelers, world.folder / "scratch")


def draft(world, definition, spec=None):
    return Labeler(name="", problem_spec=spec or world.spec, definition=definition)


def make(world, labelers, definition, name="one", spec=None):
    return labelers.create(SHOP, name, draft(world, definition, spec))


def votes_of(world, labeler, version=None):
    """row -> class index, as kept in the object store."""
    version = version or world.datasets.version(world.dataset)
    parts = [part.digest for part in read_manifest(world.objects, version.object_key).parts]
    with world.database.reading() as session:
        found = blocks_of(session, version.dataset, [labeler.name], parts=parts, schema=schema_digest(version.schema))
    pieces = [read_block(world.objects, block) for block in found.values()]
    return {int(r): int(c) for votes in pieces for r, c in zip(votes.row, votes.cls, strict=True)}


def held_out(world):
    return {
        row for batch in world.datasets.read(world.datasets.version(world.dataset), [])
        for row, held in zip(batch.column("__row").to_pylist(), batch.column("__holdout").to_pylist(), strict=True) if held
    }  # fmt: skip


def applied(world, labelers, *definitions):
    made = [make(world, labelers, definition, f"l{i}") for i, definition in enumerate(definitions)]
    return made, labelers.apply(SHOP, f"{world.dataset}/versions/latest", [labeler.name for labeler in made])[1]


@pytest.mark.parametrize(
    ("definition", "votes_on"),
    [
        (Keyword(column="comment", keywords=("free", "nothing"), class_name="spam"), lambda i: i % 3 == 0),
        (Keyword(column="comment", keywords=("FREE",), class_name="spam", case_sensitive=True), lambda i: False),
        (Keyword(column="comment", keywords=("fre",), class_name="spam"), lambda i: False),
        (Keyword(column="comment", keywords=("fre",), class_name="spam", within_words=True), lambda i: i % 3 == 0),
        (Regex(column="comment", pattern=r"number \d$", class_name="ham"), lambda i: i % 3 and i < 10),
        pytest.param(Sql(expression="likes >= 50", class_name="ham"), lambda i: i >= 50, marks=pytest.mark.slow),
        (Sql(expression="CASE WHEN likes < 5 THEN 'ham' WHEN likes < 8 THEN 'spam' END"), lambda i: i < 8),
    ],
)
def test_each_kind_votes_on_the_training_rows_that_it_means(world, labelers, definition, votes_on):
    (labeler,), (outcome,) = applied(world, labelers, definition)
    training = set(range(60)) - held_out(world)
    assert outcome.problem == ""
    assert set(votes_of(world, labeler)) == {row for row in training if votes_on(row)}
    assert outcome.votes == len(votes_of(world, labeler))


def test_keywords_are_whole_words_in_every_script_and_punctuation_is_itself(world, labelers):
    def hits(keyword, *texts, within=False):
        pattern = keyword_pattern([keyword], within_words=within)
        return matches(pa.array(texts), pattern, case_sensitive=False).to_pylist()

    assert hits("straße", "die Straße!", "STRASSE", "straßen", None) == [True, False, False, False]
    assert hits("привет", "Привет, мир", "приветик") == [True, False]
    assert hits("c++", "c++ rocks", "c plus", "objc++") == [True, False, False]
    assert hits(":)", "hi:)", "hi :(") == [True, False]
    assert hits("😀", "so 😀!", "so") == [True, False]
    assert hits("a.b", "a.b", "axb") == [True, False]
    assert hits("two  words", "two words", "two\nwords", "twowords") == [True, True, False]
    assert hits("x", "x" * 5_000_000, "x y") == [False, True], "a cell of 5 MB is no problem"


def test_a_vote_against_is_kept_as_one(world, labelers):
    (labeler,), _ = applied(world, labelers, Keyword(column="comment", keywords=("song",), class_name="spam", against=True))
    version = world.datasets.version(world.dataset)
    part = read_manifest(world.objects, version.object_key).parts[0].digest
    with world.database.reading() as session:
        block = blocks_of(session, world.dataset, [labeler.name], parts=[part], schema=schema_digest(version.schema))
    votes = read_block(world.objects, next(iter(block.values())))
    assert votes.against.all()
    assert set(votes.cls.tolist()) == {1}


def test_a_column_votes_by_the_specs_values_or_its_own(world, labelers):
    content = "text,verdict,label\n" + "\n".join(f"row {i},{['1', '0', 'weird', ''][i % 4]},{i % 2}" for i in range(80))
    order = ImportOrder(parent=SHOP, dataset_id="own", wish=Wish(kinds={"text": Kind.TEXT, "verdict": Kind.CATEGORICAL}))
    dataset = world.datasets.import_file(order, [content.encode()])
    classes = (ClassDefinition(name="ham", source_values=("0",)), ClassDefinition(name="spam", source_values=("1",)))
    wanted = ProblemSpec(name="", dataset=dataset.name, classes=classes, target_column="label", inputs=())
    spec = Specs(world.database, world.objects).create(SHOP, "own", Draft(spec=wanted)).spec.name
    plain = make(world, labelers, ColumnValue(column="verdict"), "plain", spec)
    mapped = make(world, labelers, ColumnValue(column="verdict", value_classes={"weird": "spam"}), "mapped", spec)
    version, outcomes = labelers.apply(SHOP, f"{dataset.name}/versions/1", problem_spec=spec)
    assert [outcome.problem for outcome in outcomes] == ["", ""]
    assert {row % 4: c for row, c in votes_of(world, plain, version).items()} == {0: 1, 1: 0}, "others abstain"
    assert {row % 4: c for row, c in votes_of(world, mapped, version).items()} == {0: 1, 1: 0, 2: 1}
    previewing = Previewing(world.database, world.objects, labelers)
    preview = previewing.preview(SHOP, draft(world, ColumnValue(column="verdict"), spec))
    assert "1 different answers are no class and count as abstentions: 'weird'." in preview.warnings


def test_a_multi_label_column_answers_completely(world, labelers):
    content = "text,tags\n" + "\n".join(f"row {i},{['a|b', 'b', ''][i % 3]}" for i in range(30))
    order = ImportOrder(parent=SHOP, dataset_id="own", wish=Wish(kinds={"text": Kind.TEXT, "tags": Kind.CATEGORICAL}))
    dataset = world.datasets.import_file(order, [content.encode()])
    classes = (ClassDefinition(name="a"), ClassDefinition(name="b"))
    wanted = ProblemSpec(name="", dataset=dataset.name, classes=classes, task=Task.MULTI_LABEL, inputs=())
    spec = Specs(world.database, world.objects).create(SHOP, "own", Draft(spec=wanted)).spec.name
    labeler = make(world, labelers, ColumnValue(column="tags"), "tags", spec)
    version, (outcome,) = labelers.apply(SHOP, dataset.latest.name, [labeler.name])
    part = read_manifest(world.objects, version.object_key).parts[0].digest
    with world.database.reading() as session:
        blocks = blocks_of(session, dataset.name, [labeler.name], parts=[part], schema=schema_digest(version.schema))
    votes = read_block(world.objects, next(iter(blocks.values())))
    assert votes.complete.all()
    assert outcome.votes == len(set(votes.row.tolist()))
    assert {(row % 3, cls) for row, cls in zip(votes.row.tolist(), votes.cls.tolist(), strict=True)} == {(0, 0), (0, 1), (1, 1)}


def test_the_same_votes_are_not_made_twice_and_appended_rows_are_voted_on(world, labelers):
    (labeler,), (first,) = applied(world, labelers, Keyword(column="comment", keywords=("free",), class_name="spam"))
    assert not first.reused
    _, (again,) = labelers.apply(SHOP, f"{world.dataset}/versions/latest", [labeler.name])
    assert again.reused
    assert again.votes == first.votes
    world.datasets.append_rows(world.dataset, [{"comment": "free stuff"}, {"comment": "song"}])
    _, (more,) = labelers.apply(SHOP, f"{world.dataset}/versions/latest", [labeler.name])
    assert not more.reused
    assert more.votes == first.votes + 1


def test_one_labelers_failure_doesnt_stop_the_others(world, labelers):
    _, outcomes = applied(
        world, labelers, Keyword(column="comment", keywords=("free",), class_name="spam"),
        Sql(expression="CAST(comment AS INTEGER) > 3", class_name="spam"), Sql(expression="likes > 3", class_name="ham"),
        Human(gold=True),
    )  # fmt: skip
    assert [bool(outcome.problem) for outcome in outcomes] == [False, True, False, True]
    assert "Could not convert string" in outcomes[1].problem
    assert "doesn't vote by itself" in outcomes[3].problem
    assert outcomes[0].votes > 0
    assert outcomes[2].votes > 0


def test_a_column_that_changed_its_kind_is_told(world, labelers):
    number = make(world, labelers, Keyword(column="comment", keywords=("free",), class_name="spam"))
    world.datasets.append_rows(world.dataset, [{"comment": "7"}])
    world.datasets.update_schema(world.dataset, {"comment": Kind.NUMERIC})
    _, (outcome,) = labelers.apply(SHOP, f"{world.dataset}/versions/latest", [number.name])
    assert "'comment' is numeric, not text" in outcome.problem


def test_two_applies_at_once_keep_one_block(world, labelers):
    labeler = make(world, labelers, Keyword(column="comment", keywords=("free",), class_name="spam"))
    outcomes = []

    def race():
        outcomes.append(labelers.apply(SHOP, f"{world.dataset}/versions/1", [labeler.name])[1][0])

    threads = [threading.Thread(target=race) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(outcome.votes, outcome.problem) for outcome in outcomes}) == 1
    assert len(list(world.objects.list(DATASETS, world.datasets.get(world.dataset).root + "/votes/"))) == 1


@pytest.mark.parametrize(
    ("definition", "field", "words"),
    [
        (Keyword(column="nope", keywords=("x",), class_name="spam"), "labeler.keyword.column", "The columns are: 'comment'"),
        (Keyword(column="label", keywords=("x",), class_name="spam"), "labeler.keyword.column", "is the target"),
        (Keyword(column="likes", keywords=("x",), class_name="spam"), "labeler.keyword.column", "not text"),
        (Keyword(column="comment", keywords=("x",), class_name="1"), "labeler.keyword.class_name", "not a class"),
        (Keyword(column="comment", keywords=(), class_name="spam"), "labeler.keyword.keywords", "must be 1 to 1,000"),
        (Keyword(column="comment", keywords=("x", " "), class_name="spam"), "labeler.keyword.keywords", "keyword 2 is blank"),
        (Regex(column="comment", pattern="x" * 10_001, class_name="spam"), "labeler.regex.pattern", "10,001 characters"),
        (Sql(expression=" ", class_name="spam"), "labeler.sql.expression", "is empty"),
        (ColumnValue(column="label"), "labeler.column.column", "is the target"),
        (ColumnValue(column="comment", value_classes={"x": "nope"}), "labeler.column.value_classes['x']", "not a class"),
    ],
)
def test_a_wrong_field_is_named(world, labelers, definition, field, words):
    with pytest.raises(InvalidFields) as caught:
        make(world, labelers, definition)
    assert caught.value.problems[0].field == field
    assert words in caught.value.problems[0].problem


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("spam(", "at character 5 (missing ): spam()"),
        (r"(a)[(](b\(", "at character 7 (missing )"),
        ("x(?=y)", "at character 2 (invalid perl operator: (?=). RE2 has no look-ahead"),
        (r"(a)\1", "at character 4 (invalid escape sequence: \\1). RE2 has no back-references"),
        ("a{5000}", "Repeat less"),
        ("((a{100}){100}){100}", "Repeat less"),
        ("[z-a]", "(invalid character class range: z-a)"),
        ("*", "(no argument for repetition operator: *)"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_place(world, labelers, pattern, words):
    with pytest.raises(UnsafeExpression) as caught:
        make(world, labelers, Regex(column="comment", pattern=pattern, class_name="spam"))
    assert words in caught.value.message
    assert caught.value.message.startswith("labeler.regex.pattern")


def test_a_pattern_that_hangs_other_engines_ends_in_linear_time(world, labelers):
    world.datasets.append_rows(world.dataset, [{"comment": "a" * 200_000 + "!"}])
    _, (outcome,) = applied(world, labelers, Regex(column="comment", pattern="^(a+)+$", class_name="spam"))
    assert outcome.problem == ""
    assert outcome.votes == 0


def test_a_preview_counts_gold_and_shows_what_was_seen(world, labelers, previewing):
    preview = previewing.preview(SHOP, draft(world, Keyword(column="comment", keywords=("free",), class_name="spam")))
    training = set(range(60)) - held_out(world)
    assert preview.rows == len(training)
    assert preview.votes == len([row for row in training if row % 3 == 0])
    assert preview.gold_votes == len([row for row in training if row % 3 == 0 and row < 40]) == preview.gold_right
    assert preview.warnings == ()
    first = preview.examples[0]
    assert first.class_name == "spam"
    assert first.excerpt == f"win free money now {first.row}"
    assert first.gold == ("spam" if first.row < 40 else "")
    assert labelers.list_labelers(SHOP, FIRST_PAGE, problem_spec="", retired=True)[0][2:] == [], "nothing is kept"


def test_a_preview_counts_gold_answers_of_people(world, labelers, previewing):
    row = next(row for row in range(42, 60, 3) if row not in held_out(world))
    with world.database.session() as session:
        write_votes(session, world.dataset, [NewVote(row=row, labeler=world.human, classes=("ham",))])
    preview = previewing.preview(SHOP, draft(world, Keyword(column="comment", keywords=(str(row),), class_name="spam")))
    assert (preview.votes, preview.gold_votes, preview.gold_right) == (1, 1, 0)
    assert preview.examples[0].gold == "ham"
    assert "no better than guessing" in preview.warnings[0]


@pytest.mark.parametrize(
    ("definition", "warning"),
    [
        (Regex(column="comment", pattern="zebra", class_name="spam"), "It votes on none of"),
        (Regex(column="comment", pattern=".", class_name="spam"), "It votes for the same class on"),
        (Regex(column="comment", pattern=r" [45]\d$", class_name="ham"), "No row that it votes on has a gold label"),
        (Sql(expression="CASE WHEN likes >= 40 THEN 'hamm' END"), "1 different answers are no class"),
    ],
)
def test_a_preview_warns(world, previewing, definition, warning):
    assert warning in "\n".join(previewing.preview(SHOP, draft(world, definition)).warnings)


def test_a_long_text_is_cut_around_the_match(world, previewing):
    world.datasets.append_rows(world.dataset, [{"comment": "é" * 3000 + " needle 😀 " + "y" * 3000}])
    preview = previewing.preview(SHOP, draft(world, Keyword(column="comment", keywords=("needle",), class_name="spam")))
    assert "needle 😀" in preview.examples[0].excerpt
    assert len(preview.examples[0].excerpt) <= 300


def test_a_preview_reads_no_more_rows_than_asked(world, previewing):
    shown = previewing.preview(SHOP, draft(world, Regex(column="comment", pattern=".", class_name="ham")), row_limit=5)
    assert shown.rows == 5
    with pytest.raises(InvalidField, match="only those that vote by themselves"):
        previewing.preview(SHOP, draft(world, Human()))


def test_labelers_are_listed_retired_and_kept_apart_by_spec(world, labelers):
    made = make(world, labelers, Imported(origin="elsewhere"))
    assert labelers.retire(made.name).retired is not None
    assert labelers.retire(made.name).retired == labelers.get(made.name).retired
    shown, _ = labelers.list_labelers(SHOP, FIRST_PAGE, problem_spec=world.spec, retired=False)
    assert [labeler.name for labeler in shown] == [world.human, world.crowd]
    assert len(labelers.list_labelers(SHOP, FIRST_PAGE, problem_spec=world.spec, retired=True)[0]) == 3
    by_kind, _ = labelers.list_labelers(SHOP, Asked(filter="kind = imported AND retire_time:*"), problem_spec="", retired=True)
    assert [labeler.name for labeler in by_kind] == [made.name]
    assert labelers.list_labelers(SHOP, FIRST_PAGE, problem_spec="projects/shop/problemSpecs/x", retired=True) == ([], "")
    with pytest.raises(NotFound):
        labelers.retire(f"{SHOP}/labelers/nope")


def test_a_repeated_create_answers_the_first_and_a_taken_id_is_told(world, labelers):
    one = draft(world, Human())
    first = labelers.create(SHOP, "one", one, request_id="r", fingerprint="f")
    assert labelers.create(SHOP, "one", one, request_id="r", fingerprint="f") == first
    with pytest.raises(AlreadyExists):
        labelers.create(SHOP, "one", one)
    with pytest.raises(InvalidField, match="made by Regrow itself"):
        labelers.create(SHOP, "two", draft(world, Feedback(source="x")))
    with pytest.raises(InvalidField, match="is not a spec of"):
        labelers.create("projects/else", "two", one)


def test_apply_needs_labelers_or_a_spec(world, labelers):
    with pytest.raises(InvalidField, match="name labelers, or the problem_spec"):
        labelers.apply(SHOP, f"{world.dataset}/versions/latest")
    with pytest.raises(InvalidField, match="another project"):
        labelers.apply("projects/else", f"{world.dataset}/versions/latest", problem_spec=world.spec)
    assert labelers.apply(SHOP, f"{world.dataset}/versions/latest", problem_spec=world.spec)[1] == []


@pytest.mark.parametrize("source", ["app", "App 1/Ünïcode ✓", "", "x" * 500, "-", "42"])
def test_a_feedback_source_has_one_labeler_per_spec(world, source):
    with world.database.session() as session:
        first = ensure_feedback_labeler(session, SHOP, world.spec, source)
        assert ensure_feedback_labeler(session, SHOP, world.spec, source) == first
        assert ensure_feedback_labeler(session, SHOP, world.spec, source + "x").name != first.name
        assert handlers.get_labeler(session, first.name).kind == "feedback"
    handlers.names.check_id(first.name.rpartition("/")[2], "labeler_id")
