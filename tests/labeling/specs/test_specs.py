from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from services.common.errors import AlreadyExists, InvalidField, InvalidFields, NotFound, RequestIdReused
from services.common.frames.holdout import HoldoutRule
from services.common.frames.importing import Wish
from services.common.frames.kinds import Kind
from services.common.listing import Asked
from services.common.spec import ClassDefinition, InputColumn, Metric, ProblemSpec, Task, check
from services.common.spec_proto import spec_from_proto, spec_to_proto
from services.labeling.datasets.intake import ImportOrder
from services.labeling.specs.handlers import Specs
from services.labeling.specs.rules import Draft

SHOP = "projects/shop"


@pytest.fixture
def specs(world):
    return Specs(world.database, world.objects)


def table(world, header, rows, **kinds):
    """Imports a CSV; answers the data set's name."""
    content = "\n".join([header, *rows]).encode()
    order = ImportOrder(parent=SHOP, dataset_id="own", wish=Wish(kinds={name: Kind(kind) for name, kind in kinds.items()}))
    return world.datasets.import_file(order, [content]).name


def spec_of(dataset, target="label", classes=(), **more):
    columns = {key: more.pop(key) for key in ("input_columns", "excluded_columns") if key in more}
    wanted = ProblemSpec(name="", dataset=dataset, classes=tuple(classes), inputs=(), target_column=target, **more)
    return Draft(spec=wanted, **columns)


def create(specs, draft, spec_id="own", **more):
    return specs.create(SHOP, spec_id, draft, **more).spec


def problems(caught):
    return {problem.field: problem.problem for problem in caught.value.problems}


def test_classes_come_from_the_target_in_order(world, specs):
    dataset = table(world, "text,label", [f"row {i},{i % 12}" for i in range(100)], text="text", label="numeric")
    assert create(specs, spec_of(dataset)).class_names == tuple(str(i) for i in range(12)), "numbers ascend, 10 after 9"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["yes", "no", "maybe"], "categorical", ("maybe", "no", "yes")),
        (["true", "false"], "boolean", ("false", "true")),
        (["1.5", "0.5", "3"], "numeric", ("0.5", "1.5", "3")),
        (["😀", "ß"], "categorical", ("ß", "😀")),
    ],
)
def test_classes_of_every_kind_of_target(world, specs, values, kind, expected):
    rows = [f"row {i},{values[i % len(values)]}" for i in range(60)]
    dataset = table(world, "text,label", rows, text="text", label=kind)
    assert create(specs, spec_of(dataset)).class_names == expected


def test_multi_label_cells_are_split(world, specs):
    rows = [f"row {i},{['a|b', 'b | c', '', 'a'][i % 4]}" for i in range(60)]
    dataset = table(world, "text,label", rows, label="categorical")
    spec = create(specs, spec_of(dataset, task=Task.MULTI_LABEL))
    assert spec.class_names == ("a", "b", "c")
    assert any("holdout rows" in warning for warning in spec.warnings)


def test_inputs_are_all_but_target_ids_split_and_excluded_columns(world, specs):
    rows = [f"id-{i},text {i},{i % 7},x,{'test' if i % 4 == 0 else 'train'},{i % 2}" for i in range(80)]
    kinds = {"key": Kind.ID, "body": Kind.TEXT, "size": Kind.NUMERIC, "label": Kind.CATEGORICAL}
    order = ImportOrder(parent=SHOP, dataset_id="own", wish=Wish(kinds=kinds, holdout=HoldoutRule(split_column="split")))
    dataset = world.datasets.import_file(order, ["\n".join(["key,body,size,junk,split,label", *rows]).encode()]).name
    spec = create(specs, spec_of(dataset, excluded_columns=("junk",)))
    assert [(column.name, column.kind) for column in spec.inputs] == [("body", "text"), ("size", "numeric")]
    named = create(specs, spec_of(dataset, input_columns=("size", "body")), "named")
    assert [column.name for column in named.inputs] == ["size", "body"]


def test_each_wrong_field_is_named(world, specs):
    classes = [ClassDefinition(name="spam", source_values=("1", "0")), ClassDefinition(name="ham", source_values=("0",))]
    with pytest.raises(InvalidFields) as caught:
        create(specs, spec_of(world.dataset, classes=classes, cost_matrix=((0, 1),), metric=Metric.MACRO_F1))
    assert set(problems(caught)) == {"problem_spec.classes[1].source_values", "problem_spec.cost_matrix"}
    with pytest.raises(InvalidFields) as caught:
        create(specs, spec_of(world.dataset, target="labl", input_columns=("comment", "nope"), excluded_columns=("likes",)))
    assert set(problems(caught)) == {
        "problem_spec.target_column", "problem_spec.input_columns[1]", "problem_spec.excluded_columns",
    }  # fmt: skip
    assert "The columns are: 'comment'" in problems(caught)["problem_spec.target_column"]


def test_the_target_is_no_input(world, specs):
    with pytest.raises(InvalidFields, match="a model that reads it learns nothing"):
        create(specs, spec_of(world.dataset, input_columns=("comment", "label")))


def test_one_class_is_refused(world, specs):
    dataset = table(world, "text,label", [f"row {i},same" for i in range(20)], text="text", label="categorical")
    with pytest.raises(InvalidFields, match="at least 2 needed"):
        create(specs, spec_of(dataset))


def test_a_target_without_values_is_refused(world, specs):
    dataset = table(world, "text,label", [f"row {i}," for i in range(20)], text="text", label="categorical")
    with pytest.raises(InvalidField, match="has no value in any row"):
        create(specs, spec_of(dataset))


@pytest.mark.parametrize("kind", ["text", "numeric", "id", "categorical"])
def test_a_target_that_is_no_class_is_refused(world, specs, kind):
    dataset = table(world, "text,label", [f"row {i},{i * 7919}" for i in range(2000)], text="text", label=kind)
    with pytest.raises(InvalidField, match="2,000 different values in 2,000 labeled rows: it looks like free text"):
        create(specs, spec_of(dataset))


def test_times_are_no_classes(world, specs):
    with pytest.raises(InvalidFields, match="holds times"):
        create(specs, spec_of(world.dataset, target="posted"))


def test_ten_thousand_named_classes_are_taken_and_one_more_is_not(world, specs):
    def names(count):
        return [ClassDefinition(name=f"c{i}") for i in range(count)]

    assert len(create(specs, spec_of(world.dataset, target="", classes=names(10_000))).classes) == 10_000
    with pytest.raises(InvalidFields, match="are more than 10,000"):
        create(specs, spec_of(world.dataset, target="", classes=names(10_001)), "more")


def test_without_target_the_classes_must_be_named(world, specs):
    with pytest.raises(InvalidField, match="name the classes"):
        create(specs, spec_of(world.dataset, target=""))


def test_few_holdout_rows_and_stray_values_are_warned_of(world, specs):
    rows = [f"row {i},{'a' if i % 10 else 'b'}" for i in range(400)] + ["x,odd", "y,odd"]
    dataset = table(world, "text,label", rows, text="text", label="categorical")
    classes = [ClassDefinition(name="A", source_values=("a",)), ClassDefinition(name="b"), ClassDefinition(name="never")]
    warnings = "\n".join(create(specs, spec_of(dataset, classes=classes)).warnings)
    assert "2 classes have fewer than 30 holdout rows" in warnings
    assert "'never' (0)" in warnings
    assert "2 rows have target values that belong to no class" in warnings
    assert "No row has a target value of these classes: 'never'" in warnings


def test_a_column_that_gives_the_label_away_is_warned_of(world, specs):
    rows = [f"row {i},{i % 5 + 1},{i % 3},{'yes' if (i % 5) >= 3 else 'no'}" for i in range(600)]
    dataset = table(world, "text,rating,other,label", rows, text="text", rating="numeric", other="categorical")
    warnings = create(specs, spec_of(dataset)).warnings
    leaks = [warning for warning in warnings if "alone predicts the label" in warning]
    assert len(leaks) == 1
    assert leaks[0].startswith("Column 'rating' alone predicts the label with a balanced accuracy of 1.00 (guessing: 0.50)")
    without = create(specs, spec_of(dataset, excluded_columns=("rating",)), "without").warnings
    assert not [warning for warning in without if "alone predicts" in warning]


def test_a_repeated_call_answers_the_first_spec(world, specs):
    draft = spec_of(world.dataset)
    first = specs.create(SHOP, "own", draft, request_id="r1", fingerprint="f")
    assert specs.create(SHOP, "own", draft, request_id="r1", fingerprint="f") == first
    with pytest.raises(RequestIdReused):
        specs.create(SHOP, "own", draft, request_id="r1", fingerprint="g")
    with pytest.raises(AlreadyExists):
        specs.create(SHOP, "own", draft)


def test_of_many_racing_creates_one_wins(world, specs):
    outcomes = []

    def race():
        try:
            outcomes.append(create(specs, spec_of(world.dataset)).name)
        except AlreadyExists:
            outcomes.append("taken")

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [f"{SHOP}/problemSpecs/own"] + ["taken"] * 5


def test_a_spec_that_supersedes_counts_on(world, specs):
    draft = spec_of(world.dataset, supersedes=world.spec)
    assert create(specs, draft).version == 2
    with pytest.raises(NotFound):
        create(specs, spec_of(world.dataset, supersedes=f"{SHOP}/problemSpecs/nope"), "other")
    with pytest.raises(InvalidField, match="is not a spec of"):
        create(specs, spec_of(world.dataset, supersedes="projects/else/problemSpecs/x"), "other")


def test_data_sets_of_other_projects_and_none_are_refused(world, specs):
    with pytest.raises(InvalidField, match="another project"):
        create(specs, spec_of("projects/else/datasets/comments"))
    with pytest.raises(NotFound):
        create(specs, spec_of(f"{SHOP}/datasets/nope"))


def test_pages_go_from_new_to_old(world, specs):
    for i in range(4):
        create(specs, spec_of(world.dataset), f"s{i}")
    found, token = specs.list_specs(SHOP, Asked(size=3))
    assert [stored.spec.name.rpartition("/")[2] for stored in found] == ["s3", "s2", "s1"]
    rest, end = specs.list_specs(SHOP, Asked(size=3, token=token))
    assert ([stored.spec.name.rpartition("/")[2] for stored in rest], end) == (["s0", "spam"], "")
    some, _ = specs.list_specs(SHOP, Asked(filter=f"name = {SHOP}/problemSpecs/s* AND NOT name:s2", order_by="name"))
    assert [stored.spec.name.rpartition("/")[2] for stored in some] == ["s0", "s1", "s3", "spam"]


def test_the_message_carries_all_of_a_spec():
    spec = check(
        ProblemSpec(
            name="projects/p/problemSpecs/s", dataset="projects/p/datasets/d", version=3,
            supersedes="projects/p/problemSpecs/r", task=Task.SINGLE_LABEL,
            classes=(ClassDefinition(name="a", description="x", source_values=("1",)), ClassDefinition(name="b", parent="a")),
            target_column="t", inputs=(InputColumn(name="c", kind="text"), InputColumn(name="n", kind="numeric")),
            metric=Metric.EXPECTED_COST, beta=2.0, positive_class="a", class_weights=(1.0, 2.0),
            cost_matrix=((0.0, 1.0), (5.0, 0.0)), abstain_below=0.4, slice_columns=("n",), label_separator=";", warnings=("w",),
        )
    )  # fmt: skip
    assert spec_from_proto(spec_to_proto(spec)) == spec
    for task in Task:
        for metric in Metric:
            one = replace(spec, task=task, metric=metric)
            assert spec_from_proto(spec_to_proto(one)) == one


def test_an_enum_value_of_a_later_release_is_told():
    spec = ProblemSpec(name="projects/p/problemSpecs/s", dataset="projects/p/datasets/d", classes=(), inputs=())
    message = spec_to_proto(spec)
    message.metric = 99
    with pytest.raises(InvalidField, match=r"problem_spec\.metric: 99 stands for nothing"):
        spec_from_proto(message)
