from regrow.cli.targets import balance, problem_with
from regrow.labeling.v1.datasets_pb2 import Profile
from regrow.types.v1.schema_pb2 import COLUMN_KIND_CATEGORICAL, COLUMN_KIND_ID, COLUMN_KIND_NUMERIC, ColumnProfile, ValueCount


def column(name: str, distinct: int, *, present: int = 100, kind: int = COLUMN_KIND_CATEGORICAL) -> ColumnProfile:
    top = [ValueCount(value="yes", count=present)]
    return ColumnProfile(column=name, kind=kind, present=present, missing=100 - present, distinct=distinct, top_values=top)


def profile(*columns: ColumnProfile) -> Profile:
    return Profile(row_count=100, columns=[*columns, column("Recommended", 2)])


def test_a_fine_target_has_no_problem() -> None:
    assert problem_with(profile(column("text", 90)), "Recommended") == ""


def test_a_mistyped_target_gets_the_nearest_column_whatever_its_case() -> None:
    assert "Did you mean 'Recommended'?" in problem_with(profile(), "recomended")


def test_a_target_that_is_like_no_column_gets_the_list() -> None:
    problem = problem_with(profile(column("text", 90)), "zzz")
    assert "Did you mean" not in problem
    assert "'text', 'Recommended'" in problem


def test_one_class_is_told_with_its_value_and_other_columns() -> None:
    problem = problem_with(profile(column("same", 1)), "same")
    assert "the same value ('yes') in every row" in problem
    assert "Recommended" in problem


def test_a_target_without_values_is_told() -> None:
    assert "no value in any row" in problem_with(profile(column("empty", 0, present=0)), "empty")


def test_ids_and_measurements_are_no_targets() -> None:
    for one in (column("key", 30, kind=COLUMN_KIND_ID), column("name", 100), column("price", 80, kind=COLUMN_KIND_NUMERIC)):
        assert "looks like an id" in problem_with(profile(one), one.column)


def test_a_lone_column_has_nothing_to_be_predicted_from() -> None:
    assert "only column" in problem_with(Profile(columns=[column("a", 2)]), "a")


def test_balance_counts_the_rows_that_have_a_value() -> None:
    assert balance(profile(column("some", 2, present=50)), "some") == [("yes", 50, 1.0)]
