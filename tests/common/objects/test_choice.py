"""The settings choose the store, and say what is wrong with them."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from services.common.errors import InvalidField, InvalidFields
from services.common.objects import DATASETS, DirectoryStore, objects_from
from services.common.settings import CommonSettings, describe, load


def test_without_an_endpoint_it_is_a_folder_below_the_data_folder(tmp_path: Path) -> None:
    objects_from(CommonSettings(data_dir=tmp_path)).put(DATASETS, "a", b"1")
    assert DirectoryStore(tmp_path / "objects").get(DATASETS, "a") == b"1"


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio:9000", "http://minio:9000/path", "http://me:pass@minio:9000"])
def test_an_endpoint_that_is_no_address_is_told_at_the_start(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_MINIO_ENDPOINT", endpoint)
    with pytest.raises(InvalidFields, match=r"REGROW_MINIO_ENDPOINT: .*https://host:port"):
        load(CommonSettings, [])


@pytest.mark.parametrize("prefix", ["Upper-", "-a", "a.b-", "a" * 50])
def test_a_bucket_prefix_that_no_bucket_may_begin_with_is_told_at_the_start(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_MINIO_BUCKET_PREFIX", prefix)
    with pytest.raises(InvalidFields, match="REGROW_MINIO_BUCKET_PREFIX"):
        load(CommonSettings, [])


def test_the_secret_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_MINIO_SECRET_KEY", "very-4711")
    assert "4711" not in describe(load(CommonSettings, []))


def test_an_endpoint_without_the_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.objects.find_spec", lambda name: None if name == "minio" else util.find_spec(name))
    with pytest.raises(InvalidField, match=r"REGROW_MINIO_ENDPOINT: .*regrow\[minio\]"):
        objects_from(CommonSettings(data_dir=tmp_path, minio_endpoint="http://minio:9000"))
