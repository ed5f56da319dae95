"""Holdout, parts, profile and label sets: what a version is once it is stored."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.common.errors import DigestMismatch, InvalidField, InvalidFields, NotFound
from services.common.frames import parquet
from services.common.frames.holdout import HoldoutRule
from services.common.frames.kinds import Column, Kind, Schema
from services.common.frames.label_sets import read_label_set, write_label_set
from services.common.frames.parquet import (
    Manifest,
    load_version,
    read_manifest,
    read_rows,
    read_version,
)
from services.common.frames.profile import Profile, profile_of_batches
from services.common.objects.port import DATASETS


def table(rows: int, extra: str = "") -> bytes:
    return b"text,n\n" + b"".join(f"words of row number {i}{extra},{i % 9 + 0.5}\n".encode() for i in range(rows))


def held_out(objects, imported) -> list[bool]:
    return load_version(objects, imported.stored.key)["__holdout"].tolist()


def test_about_the_share_is_held_out_and_the_same_each_time(import_bytes, objects):
    first, again = import_bytes(table(3000)), import_bytes(table(3000))
    assert 500 < first.stored.manifest.holdout_count < 700
    assert first.stored.digest == again.stored.digest
    assert first.stored.key != again.stored.key
    larger = import_bytes(table(3000), holdout=HoldoutRule(share=0.5))
    assert 1400 < larger.stored.manifest.holdout_count < 1600


def test_another_salt_holds_out_other_rows(import_bytes, objects):
    first, other = import_bytes(table(500)), import_bytes(table(500), holdout=HoldoutRule(salt="2"))
    assert held_out(objects, first) != held_out(objects, other)


def test_rows_that_a_person_would_call_the_same_fall_on_one_side(import_bytes, objects):
    rows = [
        f"{text},{i},{label}" for i in range(200) for text, label in ((f"Grüße  an {i}", "a"), (f" grüße an\u00a0{i}", "b"))
    ]
    imported = import_bytes(("text,n,label\n" + "\n".join(rows)).encode(), holdout=HoldoutRule(ignored_columns=("label",)))
    sides = held_out(objects, imported)
    assert sides[0::2] == sides[1::2]
    assert imported.profile.duplicate_rows == 200


def test_ids_do_not_part_equal_rows(import_bytes):
    rows = "\n".join(f"{i},the same words of a text" for i in range(100))
    assert import_bytes(f"id,text\n{rows}".encode()).stored.manifest.holdout_count in (0, 100)


def test_a_split_column_decides_alone(import_bytes, objects):
    content = b"text,split\n" + b"".join(b"some words %d,%s\n" % (i, b"Test " if i < 5 else b"train") for i in range(20))
    assert held_out(objects, import_bytes(content, holdout=HoldoutRule(split_column="split"))) == [True] * 5 + [False] * 15
    rule = HoldoutRule(split_column="split", split_values=("train",))
    assert held_out(objects, import_bytes(content, holdout=rule)) == [False] * 5 + [True] * 15


def test_a_split_column_without_a_held_out_row_is_refused(import_bytes):
    with pytest.raises(InvalidField, match=r"no row of 'split' has one of the values 'test'.*Seen: 'dev'"):
        import_bytes(b"text,split\nx,dev\ny,dev\n", holdout=HoldoutRule(split_column="split"))


def test_a_rule_about_columns_that_are_not_there_is_refused_at_once(import_bytes):
    with pytest.raises(InvalidFields) as caught:
        import_bytes(table(3), holdout=HoldoutRule(split_column="a", ignored_columns=("n", "b"), salt="x" * 65))
    assert [p.field for p in caught.value.problems] == ["holdout.salt", "holdout.split_column", "holdout.ignored_columns[1]"]


def test_rows_keep_their_order_over_parts(import_bytes, objects, monkeypatch):
    monkeypatch.setattr(parquet, "PART_ROWS", 10_000)
    rows = 20_000
    imported = import_bytes(table(rows))
    manifest = read_manifest(objects, imported.stored.key)
    assert [part.first_row for part in manifest.parts] == [0, manifest.parts[0].rows]
    assert sum(part.rows for part in manifest.parts) == manifest.row_count == manifest.next_row == rows
    numbers = np.concatenate([batch.column("__row").to_numpy() for batch in read_version(objects, imported.stored.key, [])])
    assert (numbers == np.arange(rows)).all()
    some = read_rows(objects, imported.stored.key, [rows - 1, 3, 17_000, -1, rows], ["text"])
    assert some.column("__row").to_pylist() == [3, 17_000, rows - 1]
    assert some.column("text").to_pylist()[1] == "words of row number 17000"


def test_only_the_columns_asked_for_are_read_in_batches_as_small_as_asked(import_bytes, objects):
    key = import_bytes(table(100)).stored.key
    batches = list(read_version(objects, key, ["n"], batch_rows=30))
    assert {batch.num_rows for batch in batches} == {30, 10}
    assert batches[0].schema.names == ["__row", "__holdout", "n"]
    with pytest.raises(InvalidField, match=r"no column 'm'\. The columns are: 'text', 'n'"):
        next(read_version(objects, key, ["m"]))


def test_damage_in_a_part_or_a_manifest_is_noticed(import_bytes, objects, tmp_path):
    stored = import_bytes(table(2000)).stored
    part = f"{stored.key.rsplit('/manifests/')[0]}/{stored.manifest.parts[0].key}"
    content = bytearray(objects.get(DATASETS, part))
    content[300] ^= 1
    objects.put(DATASETS, part, bytes(content))
    with pytest.raises(DigestMismatch, match=r"parts/.* is damaged"):
        load_version(objects, stored.key)
    objects.put(DATASETS, stored.key, objects.get(DATASETS, stored.key) + b" ")
    with pytest.raises(DigestMismatch):
        read_manifest(objects, stored.key)
    with pytest.raises(NotFound):
        read_manifest(objects, "p/d/none/manifests/00.json")


def test_a_manifest_reads_back_as_it_was(import_bytes):
    manifest = import_bytes(table(10), holdout=HoldoutRule(ignored_columns=("n",))).stored.manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["label_columns"] == ["n"]


def test_the_profile_counts_what_is_there(import_bytes):
    texts = [b"" if i % 4 == 0 else b"a text of five words" for i in range(20)]
    numbers = [b"NA" if i == 3 else b"%d" % i for i in range(20)]
    rows = [b"%s,%s,true,2026-01-0%d,\n" % (texts[i], numbers[i], i % 9 + 1) for i in range(20)]
    content = b"text,n,flag,at,none\n" + b"".join(rows)
    profile = import_bytes(content, kinds={"text": Kind.TEXT}).profile
    text, n, flag, at, none = profile.columns
    assert (text.present, text.missing, text.distinct, text.mean_length) == (15, 5, 1, 20.0)
    assert text.top_values == (("a text of five words", 15),)
    assert (n.present, n.missing, n.minimum, n.maximum) == (19, 1, 0, 19)
    present = pd.Series([i for i in range(20) if i != 3])
    assert n.mean == pytest.approx(present.mean())
    assert n.standard_deviation == pytest.approx(present.std())
    assert flag.warnings == ("All values are the same: the column can't help a model.",)
    assert at.minimum == pd.Timestamp("2026-01-01", tz="UTC").timestamp()
    assert none.warnings == ("Every value is missing: the column can't help a model.",)
    assert Profile.from_json(profile.to_json()) == profile


def test_the_profile_of_stored_rows_is_that_of_the_import(import_bytes, objects):
    rows = [
        f"{i},some words of {i % 90},{i % 7}.25,2026-01-{i % 28 + 1:02d},{'true' if i % 3 else 'false'},{'ab'[i % 2]}\n"
        for i in range(200)
    ]
    imported = import_bytes(f"id,text,n,at,flag,kind\n{''.join(rows)}".encode())
    stored = profile_of_batches(read_version(objects, imported.stored.key), imported.stored.manifest.schema, HoldoutRule())
    for again, first in zip(stored.columns, imported.profile.columns, strict=True):
        assert (again.present, again.missing, again.distinct, again.minimum) == (
            first.present, first.missing, first.distinct, first.minimum
        )  # fmt: skip
    assert (stored.duplicate_rows, stored.holdout_count) == (imported.profile.duplicate_rows, imported.profile.holdout_count)


def test_parts_are_plain_parquet_that_other_tools_read(import_bytes, objects):
    stored = import_bytes(table(10)).stored
    part = objects.get(DATASETS, f"{stored.key.rsplit('/manifests/')[0]}/{stored.manifest.parts[0].key}")
    schema = pq.read_schema(io.BytesIO(part))
    assert schema.names == ["__row", "__holdout", "text", "n"]
    assert schema.types == [pa.int64(), pa.bool_(), pa.string(), pa.float64()]


def labels(rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame({
        "row": rows, "holdout": False, "gold": [row % 2 == 0 for row in rows], "covered": True, "votes": 3,
        "probabilities": [np.array([row / 10, 1 - row / 10], dtype=np.float32) for row in rows],
    })  # fmt: skip


def test_a_label_set_reads_back_as_it_was_written(objects):
    stored = write_label_set(objects, project="p", dataset="d", frame=labels([4, 1, 7]))
    assert stored.key == f"p/d/labelsets/{stored.digest.removeprefix('sha256:')}.parquet"
    assert stored.rows == 3
    frame = read_label_set(objects, stored.key)
    assert frame["row"].tolist() == [1, 4, 7]
    assert frame["gold"].tolist() == [False, True, False]
    assert np.stack(list(frame["probabilities"])).tolist() == pytest.approx(np.array([[0.1, 0.9], [0.4, 0.6], [0.7, 0.3]]))
    assert frame["probabilities"][0].dtype == np.float32
    assert write_label_set(objects, project="p", dataset="d", frame=labels([7, 4, 1])) == stored


def test_an_empty_label_set_is_one_too(objects):
    stored = write_label_set(objects, project="p", dataset="d", frame=labels([]))
    assert len(read_label_set(objects, stored.key)) == 0


def test_a_damaged_label_set_is_noticed(objects):
    stored = write_label_set(objects, project="p", dataset="d", frame=labels([1]))
    objects.put(DATASETS, stored.key, b"PAR1" + objects.get(DATASETS, stored.key)[4:] + b" ")
    with pytest.raises(DigestMismatch):
        read_label_set(objects, stored.key)


def test_a_schema_names_its_columns_where_one_is_missing():
    schema = Schema((Column(name="a", kind=Kind.TEXT), Column(name="b", kind=Kind.ID)))
    assert "a" in schema
    with pytest.raises(InvalidField, match=r"input_columns: there is no column 'c'\. The columns are: 'a', 'b'\."):
        schema.column("c", field="input_columns")
