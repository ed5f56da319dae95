"""Files that are broken, or made to break who reads them, through every door that takes files."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import zipfile
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_system import System, unexpected
from hostile_values import some

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 60.0
GOOD = b"text,likes,label\nwin,1,spam\nlunch,2,ham\n"


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.csv", content)
    return file.getvalue()


PARQUET = parquet(pa.table({"text": ["win", "lunch"] * 50, "label": ["spam", "ham"] * 50}))
NESTED = pa.table({"a": [[{"b": [1, 2]}]], "b": [b"\xff\xfe"], "label": ["x"]})
FILES: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"\n" * 5_000,
    "NULs": b"\0" * 5_000,
    "a header alone": b"text,label\n",
    "one cell": b"x",
    "no line end": b"a," * 200_000,
    "a quote never closed": b'text,label\n"' + b"x," * 100_000,
    "ragged": b"a,b\n1\n1,2,3\n,,,,\n",
    "50,000 columns": b",".join(b"c%d" % n for n in range(50_000)) + b"\n" + b"," * 49_999 + b"\n",
    "a column twice": b"a,a,a\n1,2,3\n",
    "no names": b",,\n1,2,3\n",
    "a long name": b"x" * 100_000 + b",label\n1,2\n",
    "names of the inside": b"row,label,rowid,__index_level_0__,select\n1,2,3,4,5\n",
    "a SQL name": b'"a"" ; DROP TABLE x; --",b\n1,2\n',
    "not UTF-8": b"text,label\n\xff\xfe\xfa,x\n",
    "UTF-16": "text,label\nwin,spam\n".encode("utf-16"),
    "BOM": b"\xef\xbb\xbf" + GOOD,
    "surrogates": b"text,label\n\xed\xa0\x80,x\n",
    "CR alone": GOOD.replace(b"\n", b"\r"),
    "formulas": b"text,label\n=cmd|' /C x'!A0,x\n",
    "odd numbers": b"n,label\n"
    + b"\n".join(b"%s,x" % n for n in (b"1e999", b"-inf", b"nan", b"9" * 400, b"0x10", b"1_000"))
    + b"\n",
    "odd times": b"t,label\n"
    + b"\n".join(b"%s,x" % t for t in (b"9999-12-31", b"0000-00-00", b"1970-01-01T25:61", b"-4712-01-01"))
    + b"\n",
    "a list as JSON lines": b"[1, 2]\n[3]\n",
    "deep JSON": b'{"a": ' * 5_000 + b"1" + b"}" * 5_000 + b"\n",
    "a number a line": b"1\n2\n3\n",
    "mixed JSON": b'{"a": 1}\n{"a": "x"}\n{"a": [1]}\n{"a": {"b": 1}}\n{"a": null}\n',
    "huge ints": b'{"a": 99999999999999999999999}\n',
    "a key twice": b'{"a": 1, "a": 2, "label": "x"}\n',
    "half a pair": b'{"a": "\\ud800", "label": "x"}\n',
    "NaN": b'{"a": NaN}\n',
    "cut gzip": gzip.compress(GOOD * 1000)[:-20],
    "bomb": gzip.compress(b"a,b\n" + b"0" * (64 << 20)),
    "gzip twice": gzip.compress(gzip.compress(GOOD)),
    "gzip of no gzip": b"\x1f\x8b\x08" + b"\xff" * 500,
    "bzip2": bz2.compress(GOOD),
    "zip": zipped(GOOD),
    "zip bomb": zipped(b"0" * (64 << 20)),
    "cut parquet": PARQUET[: len(PARQUET) // 2],
    "parquet without end": PARQUET[:-8],
    "parquet of garbage": b"PAR1" + b"\xff" * 500 + b"PAR1",
    "parquet with a long footer": b"PAR1" + b"\0" * 100 + b"\xff\xff\xff\x7fPAR1",
    "parquet, bits turned": bytes(b ^ (n % 97 == 0) for n, b in enumerate(PARQUET)),
    "parquet of nothing": parquet(pa.table({})),
    "parquet without rows": parquet(pa.table({"a": pa.array([], pa.string())})),
    "nested parquet": parquet(NESTED),
    "a program": b"\x7fELF" + b"\0" * 2_000,
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "HTML": b"<!doctype html><script>alert(1)</script>",
}
FORMATS = ("file_format_unspecified", "csv", "jsonl", "parquet", "tsv")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def http(system: System) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {system.local.admin_key}"}
    with httpx.Client(base_url=system.local.url, timeout=SECONDS, headers=headers) as client:
        yield client


def check(system: System, answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text[:300]
    assert not (leak := system.problem(answer.text)), leak
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("name", FILES)
def test_no_file_breaks_an_import(http: httpx.Client, system: System, name: str) -> None:
    for file_format in (FORMATS[0], *some(FORMATS[1:], 2, name)):
        query = {"dataset_id": f"file-{next(_numbers)}", "file_name": "../../x.csv"} | (
            {"format": file_format} if file_format else {}
        )
        answer = http.post("/v1/projects/default/datasets:import", params=query, content=FILES[name])
        check(system, answer)
        if answer.status_code == 200:
            check(system, http.get(f"/v1/{answer.json()['name']}/versions/1/rows"))
            check(system, http.get(f"/v1/{answer.json()['name']}/versions/1:profile"))


@pytest.mark.parametrize("name", FILES)
def test_no_file_breaks_the_feedback_door(http: httpx.Client, system: System, name: str) -> None:
    for kind in ("text/csv", "application/x-ndjson"):
        answer = http.post(
            "/v1/projects/default/models/mail/feedback:stream", content=FILES[name], headers={"content-type": kind}
        )
        check(system, answer)


def test_a_file_that_comes_in_odd_chunks_is_read_as_it_is(http: httpx.Client, system: System) -> None:
    lines = b"class,prediction_id\n" + b"".join(b"spam,p%d\r\n" % n for n in range(50))

    def chunks(size: int) -> Iterator[bytes]:
        for begin in range(0, len(lines), size):
            yield lines[begin : begin + size]

    for size in (1, 7, 64):
        path, headers = "/v1/projects/default/models/mail/feedback:stream", {"content-type": "text/csv"}
        answer = http.post(path, content=chunks(size), headers=headers)
        assert answer.json()["committedCount"] == "50", answer.text


def test_afterwards_nothing_was_unforeseen(http: httpx.Client, system: System) -> None:
    status = http.get("/v1/status").json()
    assert [one for one in status["services"] if not one["ready"]] == []
    assert unexpected(system) == []


def test_the_good_file_is_imported(http: httpx.Client, system: System) -> None:
    answer = http.post("/v1/projects/default/datasets:import", params={"dataset_id": "good-file"}, content=GOOD)
    assert json.loads(answer.text)["name"] == "projects/default/datasets/good-file"
