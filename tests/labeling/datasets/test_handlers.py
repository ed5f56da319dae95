from __future__ import annotations

from pathlib import Path

import pytest

from services.common.database import Database
from services.common.errors import Cancelled, EtagMismatch, FailedPrecondition, NotFound
from services.common.frames.importing import Wish
from services.common.objects import DATASETS, DirectoryStore
from services.labeling.datasets.handlers import Datasets
from services.labeling.datasets.intake import ImportOrder
from services.labeling.datasets.model import Origin

NAME = "projects/p/datasets/d"
ORDER = ImportOrder(parent="projects/p", dataset_id="d", wish=Wish())
CONTENT = b"text,n\n" + b"".join(b"some words of row %d,%d\n" % (i, i * 2) for i in range(20_000))


@pytest.fixture
def objects(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "objects")


@pytest.fixture
def datasets(empty_database: Database, objects: DirectoryStore, tmp_path: Path) -> Datasets:
    return Datasets(empty_database, objects, tmp_path / "scratch")


def test_rows_are_found_by_number_in_any_part(datasets):
    version = datasets.import_file(ORDER, [CONTENT]).latest
    longer = datasets.append_rows(NAME, [{"text": "appended", "n": 7}])
    frame = datasets.load_rows(longer, [20_000, 5, 9_000, 5, 99_999])
    assert list(frame.index) == [5, 9_000, 20_000]
    assert frame["n"].tolist() == [10.0, 18_000.0, 7.0]
    assert frame["text"].tolist()[-1] == "appended"
    assert list(datasets.load_rows(version, [20_000]).index) == []
    assert list(datasets.load_rows(version, [3], ["n"]).columns) == ["__holdout", "n"]


def test_what_goes_with_an_append_is_in_its_transaction(datasets):
    first = datasets.import_file(ORDER, [CONTENT]).latest
    seen = []

    def fail(session, before, after):
        seen.append((before.row_count, after.row_count))
        raise ValueError

    with pytest.raises(ValueError):
        datasets.append_rows(NAME, [{"n": 1}], also=fail, request_id="a")
    assert seen == [(20_000, 20_001)]
    assert datasets.version(NAME) == first
    again = datasets.append_rows(NAME, [{"n": 1}], origin=Origin.REGROWTH, request_id="a")
    assert (again.number, again.origin) == (2, "regrowth")


def test_a_data_set_in_use_is_deleted_by_force_alone(empty_database, objects, tmp_path):
    forgotten = []
    datasets = Datasets(
        empty_database,
        objects,
        tmp_path / "scratch",
        users=[lambda session, name: [f"{name}/labelSets/1"]],
        forget=[lambda session, name: forgotten.append(name)],
    )
    datasets.import_file(ORDER, [CONTENT])
    objects.put(DATASETS, "p/d/labelsets/x.parquet", b"labels")
    with pytest.raises(FailedPrecondition, match="labelSets/1") as caught:
        datasets.delete(NAME)
    assert caught.value.reason == "DATASET_IN_USE"
    datasets.delete(NAME, force=True)
    assert forgotten == [NAME]
    assert list(objects.list(DATASETS)) == []
    with pytest.raises(NotFound):
        datasets.version(NAME)


def test_a_data_set_that_was_changed_meanwhile_isnt_deleted_by_its_old_etag(datasets, objects):
    datasets.import_file(ORDER, [CONTENT])
    read = datasets.get(NAME)
    datasets.append_rows(NAME, [{"n": 1}])
    with pytest.raises(EtagMismatch):
        datasets.delete(NAME, force=True, etag=read.etag)
    assert datasets.version(NAME).number == 2
    datasets.delete(NAME, etag=datasets.get(NAME).etag)
    with pytest.raises(NotFound):
        datasets.get(NAME)


def test_a_caller_that_left_gets_no_data_set(datasets, objects):
    with pytest.raises(Cancelled):
        datasets.import_file(ORDER, [CONTENT], wanted=lambda: False)
    assert list(objects.list(DATASETS)) == []
    with pytest.raises(NotFound):
        datasets.get(NAME)


def test_a_version_is_found_by_number_by_latest_and_by_the_data_sets_name(datasets):
    first = datasets.import_file(ORDER, [CONTENT]).latest
    second = datasets.append_rows(NAME, [{"n": 1}])
    assert datasets.version(f"{NAME}/versions/1") == first
    assert datasets.version(f"{NAME}/versions/latest") == datasets.version(NAME) == second
    with pytest.raises(NotFound, match="versions/3"):
        datasets.version(f"{NAME}/versions/3")
