"""Names, choices, rows and credentials: the small translations."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import numpy
import pandas
import pytest

from regrow import choices, names
from regrow.credentials import (
    Credentials,
    credentials_file,
    key_for,
    key_of_folder,
    store_credentials,
    store_key_of_folder,
    stored_credentials,
)
from regrow.rows import struct, values
from regrow.types.v1.problem_spec_pb2 import Metric, Task
from regrow.types.v1.schema_pb2 import ColumnKind


def test_short_names_become_full_ones_and_back() -> None:
    assert names.full("datasets", "reviews", "shop") == "projects/shop/datasets/reviews"
    assert names.full("datasets", "projects/a/datasets/b", "shop") == "projects/a/datasets/b"
    assert names.nested("datasets", "labelSets", "reviews/gold", "shop") == "projects/shop/datasets/reviews/labelSets/gold"
    assert names.nested("models", "versions", "reviews/versions/3", "shop") == "projects/shop/models/reviews/versions/3"
    assert names.short("projects/shop/datasets/reviews/labelSets/gold") == "reviews/gold"
    assert names.short("projects/shop/runs/r-1") == "r-1"
    assert names.parent("projects/shop/models/a/versions/3") == "projects/shop/models/a"


def test_a_label_set_without_its_data_set_is_told() -> None:
    with pytest.raises(ValueError, match="'gold' names no label set: write it as <dataset>/<label set>"):
        names.nested("datasets", "labelSets", "gold", "shop")


@pytest.mark.parametrize(
    ("text", "made"),
    [("Women's Reviews (2)", "women-s-reviews-2"), ("2024", "d-2024"), ("Größe", "gr-e"), ("x" * 99, "x" * 60), ("___", "d")],
)
def test_an_id_is_made_of_any_file_name(text: str, made: str) -> None:
    assert names.id_from(text) == made


def test_words_of_enums_go_both_ways() -> None:
    assert choices.words(Task) == ["single_label", "multi_label"]
    assert choices.number(Metric, "macro-F1") == choices.number(Metric, "METRIC_MACRO_F1") == 2
    assert choices.word(ColumnKind, choices.number(ColumnKind, "text")) == "text"
    assert choices.word(Metric, 0) == ""
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        choices.number(Metric, "acuracy")


def test_rows_travel_as_people_have_them() -> None:
    row = {
        "text": "Größe 👗", "whole": 3, "half": 0.5, "yes": True, "none": None, "nan": float("nan"), "np": numpy.int64(7),
        "flag": numpy.bool_(False), "day": datetime(2026, 1, 2, 3, tzinfo=UTC), "na": pandas.NA, "nat": pandas.NaT,
        "stamp": pandas.Timestamp("2026-01-02"), "tags": ["a", 1], "array": numpy.array([1.0, 2.0]), "more": {"a": None},
    }  # fmt: skip
    assert values(struct(row)) == {
        "text": "Größe 👗", "whole": 3, "half": 0.5, "yes": True, "none": None, "nan": None, "np": 7, "flag": False,
        "day": "2026-01-02T03:00:00+00:00", "na": None, "nat": None, "stamp": "2026-01-02T00:00:00", "tags": ["a", 1],
        "array": [1, 2], "more": {"a": None},
    }  # fmt: skip


def test_credentials_are_for_their_owner_alone_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored_credentials() == Credentials()
    path = store_credentials(Credentials(grpc_address="a:1", url="http://a:2", key="rg_one"))
    assert path == credentials_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stored_credentials().key == "rg_one"
    monkeypatch.setenv("REGROW_KEY", "rg_two")
    assert stored_credentials() == Credentials(grpc_address="a:1", url="http://a:2", key="rg_two")


def test_each_data_folder_keeps_its_own_key(tmp_path: Path) -> None:
    store_key_of_folder(tmp_path / "one", "rg_1")
    store_key_of_folder(tmp_path / "two", "rg_2")
    store_credentials(Credentials(key="rg_3"))
    assert (key_of_folder(tmp_path / "one"), key_of_folder(tmp_path / "two")) == ("rg_1", "rg_2")
    assert stored_credentials().key == "rg_3"


def test_a_damaged_credentials_file_is_as_good_as_none() -> None:
    credentials_file().write_text("{half")
    assert stored_credentials() == Credentials()


def test_a_stored_key_is_sent_to_no_other_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    store_credentials(Credentials(grpc_address="mine:1", key="rg_one"))
    assert (key_for("mine:1"), key_for("other:1")) == ("rg_one", "")
    monkeypatch.setenv("REGROW_KEY", "rg_env")
    assert key_for("other:1") == "rg_env"
