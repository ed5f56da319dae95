"""Parquet that is small as a file and large as a table: read in little memory, or refused with the reason."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.common.errors import EngineUnavailable, TooLarge, UnreadableFile
from services.common.frames import parquet_files
from services.common.frames.batches import BATCH_CHARACTERS, Notes
from services.common.frames.importing import Wish, import_file
from services.common.frames.parquet_files import read_parquet_file
from services.common.objects.directory import DirectoryStore

PLENTY = 8 << 30


def _numbered(rows: int, characters: int) -> pa.DictionaryArray:
    """One long text, written once, in every row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * characters]))


def _write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path, compression="zstd", store_schema=False)
    return path


def test_a_text_that_is_written_once_and_meant_a_thousand_times_comes_in_batches_of_their_size(tmp_path: Path) -> None:
    text = _numbered(1_000, 1 << 20)
    path = _write(tmp_path / "bomb.parquet", pa.table({"text": text, "n": range(1_000)}))
    assert path.stat().st_size < 20_000
    rows = 0
    for batch in read_parquet_file(path, Notes(), most_bytes=PLENTY):
        rows += batch.num_rows
        assert batch.nbytes < BATCH_CHARACTERS + (2 << 20)
    assert rows == 1_000


def test_within_lists_and_structs_it_is_bounded_as_well(tmp_path: Path) -> None:
    texts = _numbered(80, 1 << 18)
    lists = pa.ListArray.from_arrays(pa.array(range(0, 81, 2), pa.int32()), texts)
    structs = pa.StructArray.from_arrays([_numbered(40, 1 << 18)], names=["inner"])
    path = _write(tmp_path / "nested.parquet", pa.table({"lists": lists, "structs": structs}))
    rows = 0
    for batch in read_parquet_file(path, Notes(), most_bytes=PLENTY):
        rows += batch.num_rows
        assert batch.nbytes < BATCH_CHARACTERS + (2 << 20)
    assert rows == 40
    assert [len(one) for one in json.loads(batch.column(0)[0].as_py())] == [1 << 18] * 2


def test_more_than_may_be_imported_is_refused_before_it_is_written_out(tmp_path: Path) -> None:
    path = _write(tmp_path / "large.parquet", pa.table({"text": _numbered(5_000, 1 << 20)}))
    with pytest.raises(TooLarge, match="once unpacked"):
        list(read_parquet_file(path, Notes(), most_bytes=64 << 20))


def test_a_row_that_is_too_large_to_be_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MOST_LINE_CHARACTERS", 1 << 20)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 40], pa.int32()), _numbered(40, 1 << 16))
    path = _write(tmp_path / "row.parquet", pa.table({"lists": lists}))
    with pytest.raises(UnreadableFile, match=r"a row holds more than 1.*MiB"):
        list(read_parquet_file(path, Notes(), most_bytes=PLENTY))


def test_numbered_values_of_every_kind_read_as_the_same_texts(tmp_path: Path) -> None:
    texts = ["a", None, "b", "a", ""]
    table = pa.table({
        "plain": texts,
        "numbered": pa.array(texts).dictionary_encode(),
        "bytes": pa.array([None if text is None else text.encode() for text in texts]),
        "lists": pa.array([["a", None], None, [], ["a", "b"], ["é"]]),
        "fixed": pa.array([["a", "b"], None, ["c", None], ["a", "b"], ["d", "e"]], pa.list_(pa.string(), 2)),
        "maps": pa.array([[("k", "v")], None, [], [("k", None)], [("l", "v")]], pa.map_(pa.string(), pa.string())),
        "structs": pa.array([{"f": "a", "g": 1}, None, {"f": None, "g": 2}, {"f": "a", "g": None}, {"f": "b", "g": 3}]),
        "none": pa.array([None] * 5, pa.string()),
        "number": [1, None, 3, 4, 5],
    })  # fmt: skip
    read = []
    for store_schema in (True, False):
        for use_dictionary in (True, False):
            path = tmp_path / f"{store_schema}-{use_dictionary}.parquet"
            pq.write_table(table, path, use_dictionary=use_dictionary, store_schema=store_schema, row_group_size=2)
            batches = list(read_parquet_file(path, Notes(), most_bytes=PLENTY))
            read.append(pa.Table.from_batches(batches).to_pylist())
    assert read[0] == read[1] == read[2] == read[3]
    assert [row["plain"] for row in read[0]] == [row["numbered"] for row in read[0]] == ["a", None, "b", "a", None]
    assert json.loads(read[0][3]["lists"]) == ["a", "b"] and json.loads(read[0][4]["structs"]) == {"f": "b", "g": 3}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk that is always full")
@pytest.mark.parametrize("packed", [True, False])
def test_a_full_disk_is_told_as_that_and_not_as_a_damaged_file(tmp_path: Path, objects: DirectoryStore, packed: bool) -> None:
    content = b"a,b\n" + b"x,y\n" * 200_000
    (tmp_path / "upload").write_bytes(gzip.compress(content) if packed else content)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / ("unpacked" if packed else "staged-0.arrows")).symlink_to("/dev/full")
    with pytest.raises(EngineUnavailable, match="the disk is full"):
        import_file(objects, "p/d/1", tmp_path / "upload", tmp_path / "scratch", Wish())


@pytest.mark.slow
def test_the_memory_of_the_process_stays_small(tmp_path: Path) -> None:
    path = _write(tmp_path / "bomb.parquet", pa.table({"text": _numbered(8_000, 1 << 20)}))
    code = (
        "import resource, sys; from pathlib import Path; from services.common.frames.batches import Notes;"
        "from services.common.frames.parquet_files import read_parquet_file as read;"
        "rows = sum(batch.num_rows for batch in read(Path(sys.argv[1]), Notes(), most_bytes=1 << 40));"
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=120)
    rows, megabytes = map(int, done.stdout.split())
    # 8 GB are meant; how far Arrow reads ahead hangs on how busy the machine is
    assert rows == 8_000 and megabytes < 2_500
