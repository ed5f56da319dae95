import gzip
from pathlib import Path

import pytest

from regrow.cli.options import Mistake
from regrow.cli.rowfiles import batches, local_columns, rows_from_file, rows_from_json


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'\xef\xbb\xbftext,n\n"Gr\xc3\xb6\xc3\x9fe, ""so""",1\n'),
        ("a.csv", 'text;n\n"Größe, ""so""";1\n'.encode()),
        ("a.tsv", 'text\tn\n"Größe, ""so"""\t1\n'.encode()),
        ("a.jsonl", '{"text": "Größe, \\"so\\"", "n": "1"}\n\n'.encode()),
        ("a.csv.gz", gzip.compress('text,n\n"Größe, ""so""",1\n'.encode(), mtime=0)),
    ],
)
def test_rows_come_from_files_of_any_make(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert list(rows_from_file(tmp_path / name)) == [{"text": 'Größe, "so"', "n": "1"}]
    assert local_columns(tmp_path / name) == ["text", "n"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", "Größe\n".encode("utf-16"), "can't be read"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2 is no JSON object"),
        ("a.jsonl", b'{"a": 1}\n{"a":\n', "line 2 is no JSON"),
        ("a.parquet", b"PAR1\nPAR1", "Parquet"),
    ],
)
def test_files_that_can_t_be_read_are_told(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Mistake, match=problem):
        list(rows_from_file(tmp_path / name))


def test_columns_of_an_unreadable_file_are_unknown(tmp_path: Path) -> None:
    assert local_columns(tmp_path / "nothing.csv") == []


def test_json_rows_come_in_three_forms() -> None:
    rows = [{"text": "x"}]
    assert (
        rows_from_json('{"text": "x"}')
        == rows_from_json('[{"text": "x"}]')
        == rows_from_json('{"rows": [{"text": "x"}]}')
        == rows
    )


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '"x"', "null"])
def test_json_that_is_no_row_is_told(text: str) -> None:
    with pytest.raises(Mistake, match="JSON"):
        rows_from_json(text)


def test_a_file_of_any_size_goes_through_in_batches() -> None:
    assert [len(batch) for batch in batches(({"n": n} for n in range(5)), 2)] == [2, 2, 1]
    assert list(batches([], 2)) == []
