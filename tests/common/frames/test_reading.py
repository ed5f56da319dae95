from __future__ import annotations

import gzip
import io
import json
import random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.common.errors import InvalidField, TooLarge, UnreadableFile
from services.common.frames.kinds import Kind
from services.common.frames.parquet import load_version
from services.common.frames.sniffing import Format


@pytest.fixture
def frame_of(import_bytes, objects):
    def read(content: bytes, file_name: str = "", **wish) -> pd.DataFrame:
        imported = import_bytes(content, file_name, **wish)
        return load_version(objects, imported.stored.key).drop(columns="__holdout")

    return read


def values(frame: pd.DataFrame) -> list[list[object]]:
    return [list(row) for row in frame.itertuples(index=False)]


def test_quotes_keep_delimiters_line_breaks_and_quotes(frame_of):
    frame = frame_of(b'text,label\r\n"a, ""b""\r\nc\n",ham\r\nd,spam\r\n', kinds={"text": Kind.TEXT})
    assert values(frame) == [['a, "b"\r\nc\n', "ham"], ["d", "spam"]]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_the_delimiter_is_found_and_told(import_bytes, delimiter, name):
    imported = import_bytes(f"a{delimiter}b\n1,5{delimiter}x\n2,5{delimiter}y\n".encode())
    assert imported.stored.manifest.schema.names == ["a", "b"]
    assert f"Cells are separated by {name}." in imported.notes


def test_a_file_of_one_column_keeps_its_commas(frame_of):
    assert values(frame_of(b"text\nhello, world\n; ; ;\n")) == [["hello, world"], ["; ; ;"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_any_dress_reads_the_same(frame_of, encoding):
    text = "wörd,emoji\n" + "".join(f"grüße {i},🎉\n" for i in range(30))
    frame = frame_of(text.encode(encoding))
    assert list(frame.columns) == ["wörd", "emoji"]
    assert values(frame)[29] == ["grüße 29", "🎉"]


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(500) + b"\n\xff", random.Random(3).randbytes(5000)],
    ids=["picture", "random bytes"],
)
def test_a_file_that_is_no_text_is_refused_as_such(import_bytes, content):
    with pytest.raises(UnreadableFile, match="isn't text but binary data"):
        import_bytes(content, "table.csv")


def test_a_header_of_numbers_is_told(import_bytes):
    told = "The first row reads like data"
    assert any(told in note for note in import_bytes(b"0.3,0.5,yes\n0.1,0.2,no\n").notes)
    assert not any(told in note for note in import_bytes(b"a,2024,b\n0.1,0.2,no\n").notes)


def test_what_is_not_utf8_reads_as_windows_1252(import_bytes, objects):
    imported = import_bytes("word,n\ncafé “x”,1\nnaïve,2\n".encode("cp1252"))
    assert load_version(objects, imported.stored.key)["word"].tolist() == ["café “x”", "naïve"]
    assert any("Windows-1252" in note for note in imported.notes)


def test_one_broken_byte_among_much_good_utf8_does_not_garble_the_rest(import_bytes, objects):
    imported = import_bytes(b"word,n\n" + "grüße,1\n".encode() * 50 + b"bro\xffken,2\n")
    words = load_version(objects, imported.stored.key)["word"].tolist()
    assert words[0] == "grüße"
    assert words[-1] == "bro\ufffdken"
    assert "1 bytes aren't valid UTF-8 and were replaced." in imported.notes


def test_a_ragged_row_is_refused_with_its_line(import_bytes):
    with pytest.raises(UnreadableFile, match=r"^line 4: the row has 3 cells, but the header has 2\."):
        import_bytes(b'a,b\n"x\ny",1\n1,2,3\n')


def test_an_open_quote_is_refused_with_the_line_that_opens_it(import_bytes):
    with pytest.raises(UnreadableFile, match=r"^line 3: a quote that opens in this row is never closed"):
        import_bytes(b'a,b\n1,2\n3,"four\n5,6\n')


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n", b"\x00\x00"])
def test_an_empty_file_is_refused(import_bytes, content):
    with pytest.raises(UnreadableFile, match="the file is empty"):
        import_bytes(content)


@pytest.mark.parametrize("content", [b"a,b\n", b"a,b", b"a,b\n\n,\n"])
def test_a_header_alone_is_refused(import_bytes, content):
    with pytest.raises(UnreadableFile, match="a header but no rows"):
        import_bytes(content)


def test_a_single_row_is_enough(frame_of):
    assert values(frame_of(b"text,label\nhello there,ham")) == [["hello there", "ham"]]


def test_repeated_and_empty_headers_get_names_of_their_own(import_bytes):
    imported = import_bytes(b"a,a,,a_2,__row, \n1,2,3,4,5,6\n")
    assert imported.stored.manifest.schema.names == ["a", "a_3", "column_3", "a_2", "__row_2", "column_6"]
    assert "Column 3 has no name and is called 'column_3'." in imported.notes


def test_blank_lines_and_nul_characters_are_taken_out_and_told(import_bytes, objects):
    imported = import_bytes(b"\na,b\n\nx\x00y,1\n,\n\nz,2\n\n")
    assert load_version(objects, imported.stored.key)["a"].tolist() == ["xy", "z"]
    assert {"Skipped 4 blank rows.", "Took 1 NUL character out of the text."} <= set(imported.notes)


def test_a_cell_of_five_megabytes_is_kept(frame_of):
    big = "word " * 1_000_000
    frame = frame_of(f'text,label\n"{big}",ham\nshort,spam\n'.encode())
    assert frame["text"][0] == big


def test_a_cell_over_the_limit_is_refused_with_its_line(import_bytes):
    with pytest.raises(UnreadableFile, match=r"^line 3: a cell is larger than 16 MiB"):
        import_bytes(b"a,b\n1,2\n" + b"x" * (17 << 20) + b",3\n")


def test_quotes_that_do_not_fit_are_plain_characters_in_a_file_of_tabs(import_bytes, objects):
    imported = import_bytes(b'text\tlabel\n"never closed\tham\nfine\tspam\n"so she said" loudly\tham\n')
    assert load_version(objects, imported.stored.key)["text"].tolist() == ['"never closed', "fine", '"so she said" loudly']


def test_quotes_that_fit_are_quotes_in_a_file_of_tabs(frame_of):
    assert values(frame_of(b'text\tlabel\n"two\nlines"\tham\n')) == [["two\nlines", "ham"]]


def test_lines_of_json_may_differ_in_keys_and_nest(frame_of):
    lines = [{"text": "a", "n": 1}, {"text": None, "tags": ["x", {"y": 2}]}, {"n": 2.5, "text": "b\ud800", "flag": True}]
    frame = frame_of("\n".join(json.dumps(line) for line in lines).encode())
    assert list(frame.columns) == ["text", "n", "tags", "flag"]
    assert frame["text"].tolist() == ["a", None, "b?"]
    assert frame["n"].tolist()[0::2] == [1.0, 2.5]
    assert frame["tags"].tolist() == [None, '["x",{"y":2}]', None]
    assert frame["flag"].tolist() == [None, None, True]


def test_keys_that_first_come_up_after_many_rows_are_columns_too(frame_of):
    content = b'{"a": "x y"}\n' * 9000 + b'{"a": "z", "late": 7}\n'
    frame = frame_of(content, "rows.jsonl")
    assert frame["late"].notna().sum() == 1
    assert frame["late"].iloc[-1] == 7
    assert len(frame) == 9001


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1', "line 2: not a JSON object"),
        (b"7", "line 2: not a JSON object, but int"),
        (b"[" * 100_000, "line 2: not a JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 2: not a JSON object"),
    ],
    ids=["cut short", "a number", "too deep", "too many digits"],
)
def test_a_line_that_is_no_object_is_refused_with_its_number(import_bytes, line, problem):
    with pytest.raises(UnreadableFile, match=problem):
        import_bytes(b'{"a": 1}\n' + line + b"\n")


def test_a_json_array_is_refused_with_the_cure(import_bytes):
    with pytest.raises(UnreadableFile, match="write each of its objects on a line of its own"):
        import_bytes(b'[{"a": 1}, {"a": 2}]')


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parquet_of_many_types_reads_as_the_same_values(frame_of):
    table = pa.table(
        {
            "text": pa.array(["some words in a row", None], pa.large_string()),
            "category": pa.array(["x", "y"]).dictionary_encode(),
            "whole": pa.array([1, None], pa.int32()),
            "real": pa.array([0.1, float("nan")]),
            "flag": pa.array([True, False]),
            "moment": pa.array([0, 1_500_000], pa.timestamp("us")),
            "day": pa.array([0, 365], pa.date32()),
            "list": pa.array([[1, 2], None], pa.list_(pa.int64())),
        }
    )
    frame = frame_of(parquet_bytes(table))
    assert frame["text"].tolist() == ["some words in a row", None]
    assert frame["category"].tolist() == ["x", "y"]
    assert frame["whole"].isna().tolist() == [False, True]
    assert frame["real"][0] == 0.1
    assert frame["flag"].tolist() == [True, False]
    assert frame["moment"][1] == pd.Timestamp("1970-01-01T00:00:01.5Z")
    assert frame["day"][1] == pd.Timestamp("1971-01-01", tz="UTC")
    assert frame["list"].tolist() == ["[1,2]", None]


def test_damaged_parquet_is_refused(import_bytes):
    content = parquet_bytes(pa.table({"a": list(range(1000))}))
    with pytest.raises(UnreadableFile, match="damaged"):
        import_bytes(content[:-20])


@pytest.mark.parametrize("name", ["x.csv.gz", ""])
def test_gzip_is_unpacked(frame_of, name):
    assert values(frame_of(gzip.compress(b"a,b\nx,y\n"), name)) == [["x", "y"]]


def test_gzipped_parquet_is_unpacked(frame_of):
    assert frame_of(gzip.compress(parquet_bytes(pa.table({"a": ["x"]})))).loc[0, "a"] == "x"


def test_a_gzip_that_unpacks_past_the_limit_is_refused(import_bytes):
    with pytest.raises(TooLarge, match="larger than the limit of 1 MiB"):
        import_bytes(gzip.compress(b"a,b\n" + b"0" * (40 << 20)), most_bytes=1 << 20)


def test_a_gzip_that_is_cut_short_is_refused(import_bytes):
    with pytest.raises(UnreadableFile, match="damaged or cut short"):
        import_bytes(gzip.compress(b"a,b\n" + b"x,y\n" * 1000)[:-12])


@pytest.mark.parametrize(("content", "what"), [(b"PK\x03\x04....", "Excel"), (b"%PDF-1.7 ...", "PDF"), (b"BZh9....", "bzip2")])
def test_files_of_another_make_are_named(import_bytes, content, what):
    with pytest.raises(UnreadableFile, match=what):
        import_bytes(content)


def test_a_format_that_was_asked_for_wins_over_the_name(frame_of):
    assert values(frame_of(b"a\tb,c\nx\ty,z\n", "x.csv", format=Format.TSV)) == [["x", "y,z"]]


def test_saying_parquet_of_a_text_is_refused(import_bytes):
    with pytest.raises(UnreadableFile, match="isn't Parquet"):
        import_bytes(b"a,b\n1,2\n", format=Format.PARQUET)


def test_too_many_columns_are_refused(import_bytes):
    with pytest.raises(UnreadableFile, match="there are 2,001 columns"):
        import_bytes((",".join(f"c{i}" for i in range(2001)) + "\n").encode())


def test_float32_keeps_the_digits_that_were_meant(frame_of):
    frame = frame_of(parquet_bytes(pa.table({"n": pa.array([0.1, 16777216, None], pa.float32())})))
    assert frame["n"].tolist()[:2] == [0.1, 16777216.0]


PIECES = [
    b'"', b",", b"\n", b"\r", b"\0", b"\t", b";", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"[", b"1e999", b"NaN", b"=",
    b"\xed\xa0\x80", b"9" * 400, b"-", b"-5", b"0001-01-01", b"9999-12-31T23:59:59Z", b"99/99/9999", b"1,234", b"\x1f", b"true",
]  # fmt: skip
SEEDS = [
    b'a,b,c\n1,2,3\n"x ""y""",5,\n,,\n2020-01-01,true,-5\n' * 3,
    '{"a":1,"b":[1,2],"c":"é"}\n{"a":null}\n'.encode() * 3,
    "ä;b\n1,5;31.12.2020\n".encode("utf-16") * 3,
    b'a\tb\n"x\ty\nz"\t1\n',
    parquet_bytes(pa.table({"a": [1, 2, None], "b": ["x", "yé", "z"]})),
    gzip.compress(b"a,b\n1,2\n" * 20),
]


def test_whatever_the_bytes_an_import_succeeds_or_says_what_is_wrong(import_bytes, objects):
    draw = random.Random(11)
    refused = 0
    for _ in range(60):
        content = bytearray(draw.choice(SEEDS))
        for _ in range(draw.randint(1, 6)):
            at = draw.randint(0, len(content))
            content[at : at + draw.choice([0, 0, 0, 9])] = draw.choice(PIECES)
        try:
            imported = import_bytes(bytes(content), kinds=draw.choice([{}, {"a": draw.choice(list(Kind))}]))
        except (UnreadableFile, InvalidField) as error:
            refused += 1
            assert error.message
        else:
            assert len(load_version(objects, imported.stored.key)) == imported.stored.manifest.row_count
    assert 0 < refused < 60
