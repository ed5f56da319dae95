from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from services.common.errors import UnsafeExpression
from services.common.frames.kinds import Column, Kind, Schema
from services.labeling.labelers.sandbox import Sandbox, SqlLimits, sandbox

SCHEMA = Schema(
    (
        Column(name="text", kind=Kind.TEXT), Column(name="n", kind=Kind.NUMERIC), Column(name="ok", kind=Kind.BOOLEAN),
        Column(name="when", kind=Kind.DATETIME), Column(name='odd "name"; --', kind=Kind.TEXT),
        Column(name="target", kind=Kind.CATEGORICAL),
    )
)  # fmt: skip
ROWS = pa.RecordBatch.from_pydict(
    {
        "text": pa.array(["buy http://x", None, "hello"]),
        "n": pa.array([1.0, 2.0, None]),
        "ok": pa.array([True, None, False]),
        "when": pa.array([0, 86_400_000_000, None], pa.timestamp("us", "UTC")),
        'odd "name"; --': pa.array(["a", "b", "c"]),
    }
)
FAST = SqlLimits(memory_bytes=1 << 30, step_seconds=3.0)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One process for all expressions that do it no harm."""
    with sandbox(tmp_path_factory.mktemp("sandbox"), SqlLimits()) as one:
        yield one


def answers(child, expression, *, boolean=True, rows=ROWS):
    child.prepare(expression, SCHEMA, "target", boolean=boolean)
    return child.vote([rows]).to_pylist()


def refused(child, expression, **more):
    with pytest.raises(UnsafeExpression) as caught:
        answers(child, expression, **more)
    return caught.value.message


def stopped(folder, expression, *, limits=FAST, rows=ROWS):
    """As `refused`, in a process of its own."""
    with sandbox(folder, limits) as one:
        return refused(one, expression, rows=rows)


@pytest.mark.parametrize(
    ("expression", "boolean", "expected"),
    [
        ("text LIKE '%http%'", True, [True, None, False]),
        ("regexp_matches(text, '^(b+)+uy')", True, [True, None, False]),
        ("TEXT IS NULL", True, [False, True, False]),
        ("rows.n > 1 AND ok IS NULL", True, [False, True, False]),
        ("CASE WHEN n = 1 THEN 'spam' WHEN text IS NULL THEN 'ham' END", False, ["spam", "ham", None]),
        ('"odd ""name""; --" IN (\'a\', \'c\')', True, [True, False, True]),
        ('year("when") = 1970', True, [True, True, None]),
        ("list_sum(list_transform([1, 2], lambda x: x * n)) > 4", True, [False, True, None]),
        ("-- a comment\n n = 1 -- and another", True, [True, False, None]),
        ("NULL", True, [None, None, None]),
        ("1 = 1", True, [True, True, True]),
        ("n", False, ["1.0", "2.0", None]),
    ],
)
def test_an_expression_answers_row_by_row(child, expression, boolean, expected):
    assert answers(child, expression, boolean=boolean) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("read_csv('/etc/passwd')", "calls read_csv(), which isn't allowed"),
        ("read_text('/etc/passwd') IS NULL", "calls read_text()"),
        ("(SELECT 1) = 1", "has a query inside"),
        ("EXISTS (SELECT * FROM 'x.csv')", "has a query inside"),
        ("n IN (WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t)", "has a query inside"),
        ("n > 1 FROM read_csv('x')", "leave out FROM"),
        ("n > 1) FROM rows, (SELECT 1", "can't be parsed"),
        ("1 UNION SELECT 2", "leave out FROM, UNION"),
        ("n > 1 WHERE true", "leave out WHERE"),
        ("n > 1 LIMIT 1", "leave out FROM"),
        ("true; DROP TABLE rows", "more than an expression"),
        ("COPY rows TO 'x'", "can't be parsed"),
        ("PRAGMA database_list", "has a name"),
        ("true AS vote", "has a name"),
        ("ok, ok", "is 2 expressions"),
        ("*", "names columns by '*'"),
        ("COLUMNS(*)", "names columns by '*'"),
        ("$1", "has a parameter"),
        ("#1", "names a column by number"),
        ("count(*) > 1", "calls count_star()"),
        ("max(n) > 1", "calls max()"),
        ("row_number() OVER () = 1", "looks at other rows"),
        ("random() > 0.5", "calls random()"),
        ('now() > "when"', "calls now()"),
        ("current_setting('home_directory') = 'x'", "calls current_setting()"),
        ("getvariable('x') = 1", "calls getvariable()"),
        ("target = 'x'", "reads 'target', the target: labelers never see it"),
        ("rows.Target = 'x'", "the target"),
        ("__holdout", "reads '__holdout', which is no column"),
        ("__row = 1", "reads '__row', which is no column"),
        ('text = "hello"', "texts stand in single quotes"),
        ("main.rows.n > 1", "which is no column"),
        ("n >", "can't be parsed: syntax error"),
        ("'unfinished", "can't be parsed: unterminated"),
        ("n", "with class_name set it must answer true, false or NULL"),
        ("text > n", "fails: Binder Error"),
        ("nofunction(n)", "calls nofunction()"),
        ("(" * 4000 + "1" + ")" * 4000, "nested too deeply"),
        ("\0", "which is no column"),
    ],
)
def test_what_is_no_harmless_expression_is_refused(child, expression, words):
    assert words in refused(child, expression)


def test_a_class_name_expression_must_not_answer_true_or_false(child):
    assert "set class_name" in refused(child, "n > 1", boolean=False)


def test_the_place_of_a_mistake_is_told(child):
    assert "At character 5, " in refused(child, "n > random()")


@pytest.mark.parametrize(
    "expression",
    [
        "len(repeat('x', 1000000000)) > n",
        "len(list_transform(range(1000000000), lambda x: x)) > n",
    ],
)
def test_memory_is_bounded(tmp_path, expression):
    assert "needed more than 1,024 MiB of memory" in stopped(tmp_path, expression)


def test_a_size_that_no_machine_has_is_an_error_not_a_crash(child):
    assert "fails: Out of Range Error" in refused(child, "repeat('x', 1000000000000) IS NULL")
    assert answers(child, "n = 1") == [True, False, None]


def test_time_is_bounded_and_the_child_is_gone(tmp_path):
    slow = "list_sum(list_transform(range(300000), lambda x: list_sum(list_transform(range(300), lambda y: y * x * n)))) > 1"
    began = time.monotonic()
    told = stopped(tmp_path, slow, limits=SqlLimits(step_seconds=0.5, memory_bytes=4 << 30))
    assert "took longer than 0.5 seconds" in told or "of memory" in told
    assert time.monotonic() - began < 15
    assert list(tmp_path.iterdir()) == [], "nothing lies about"


@pytest.mark.slow
def test_processor_time_is_bounded_even_if_the_parent_forgets(tmp_path):
    slow = "list_sum(list_transform(range(30000), lambda x: list_sum(list_transform(range(3000), lambda y: y * x * n)))) > 1"
    limits = SqlLimits(step_seconds=60, cpu_seconds=3, memory_bytes=4 << 30)
    rows = pa.RecordBatch.from_pydict({"n": pa.array([float(i) for i in range(500)])})
    assert "was stopped" in stopped(tmp_path, slow, limits=limits, rows=rows)


def test_many_steps_go_through_one_child_in_order(child):
    child.prepare("n % 2 = 0", SCHEMA, "target", boolean=True)
    for start in range(0, 5000, 1000):
        batches = [pa.RecordBatch.from_pydict({"n": pa.array([float(start + i + j) for j in range(100)])}) for i in (0, 100)]
        assert child.vote(batches).to_pylist() == [(start + i) % 2 == 0 for i in range(200)]
    assert child.columns == ("n",)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_knows_nothing_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    with sandbox(tmp_path, FAST) as one:
        assert b"abc" not in Path(f"/proc/{one._process.pid}/environ").read_bytes()
