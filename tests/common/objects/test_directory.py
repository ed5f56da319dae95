"""What only the directory store has: files, a disk that fills, leftovers, damage."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import DigestMismatch, EngineUnavailable, InvalidField
from services.common.objects import DATASETS, DirectoryStore

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "objects")


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_copy_of_the_folder_is_a_backup(store: DirectoryStore, tmp_path: Path) -> None:
    put = store.put(DATASETS, "a/b", b"content")
    shutil.copytree(tmp_path / "objects", tmp_path / "copy")
    assert DirectoryStore(tmp_path / "copy").stat(DATASETS, "a/b").digest == put.digest


def test_a_put_leaves_one_file_and_no_leftover(store: DirectoryStore, tmp_path: Path) -> None:
    store.put(DATASETS, "a", b"1")
    store.put(DATASETS, "a", b"2")
    store.put(DATASETS, "b", b"1", if_absent=True)
    assert sorted(path.name for path in files(tmp_path / "objects")) == ["a@", "b@"]


def test_a_start_sweeps_leftovers_older_than_an_hour(store: DirectoryStore, tmp_path: Path) -> None:
    incoming = tmp_path / "objects" / ".incoming"
    for name, age in (("old", 3700), ("young", 3500)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)
    DirectoryStore(tmp_path / "objects")
    assert [path.name for path in incoming.iterdir()] == ["young"]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "no header"])
def test_damaged_bytes_are_told_and_not_served(store: DirectoryStore, tmp_path: Path, damage: str) -> None:
    store.put(DATASETS, "a", b"x" * 1000)
    path = tmp_path / "objects" / DATASETS / "a@"
    stored = path.read_bytes()
    path.write_bytes({"flip": stored[:-1] + b"y", "cut": stored[:-1], "grow": stored + b"x", "no header": b"x" * 1000}[damage])
    with pytest.raises(DigestMismatch, match=f"Object '{DATASETS}/a' is damaged"):
        store.get(DATASETS, "a")


def test_a_missing_folder_is_an_unavailable_engine_and_not_an_empty_store(store: DirectoryStore, tmp_path: Path) -> None:
    store.put(DATASETS, "a", b"1")
    (tmp_path / "objects").rename(tmp_path / "unmounted")
    calls = [
        lambda: store.get(DATASETS, "a"),
        lambda: store.list(DATASETS),
        lambda: store.delete(DATASETS, "a"),
        lambda: store.put(DATASETS, "a", b""),
        lambda: store.exists(DATASETS, "a"),
        store.check,
    ]
    for call in calls:
        with pytest.raises(EngineUnavailable, match="objects can't be reached"):
            call()
    (tmp_path / "unmounted").rename(tmp_path / "objects")
    assert store.get(DATASETS, "a") == b"1"


def test_a_root_that_is_a_file_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("in the way")
    with pytest.raises(EngineUnavailable, match=r"Not a directory|File exists"):
        DirectoryStore(tmp_path / "objects")


CAPPED = """
import resource, signal, sys
from pathlib import Path
from services.common.errors import EngineUnavailable
from services.common.objects import DirectoryStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = DirectoryStore(Path(sys.argv[1]))
store.put("regrow-datasets", "small", b"x" * 50_000)
try:
    store.put("regrow-datasets", "big", b"x" * 200_000)
except EngineUnavailable as error:
    print(error.message)
"""


def test_a_write_that_the_disk_cuts_short_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CAPPED, str(tmp_path)], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert "the disk is full" in ran.stdout
    assert [path.name for path in files(tmp_path)] == ["small@"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_leaves_nothing_and_works_again_when_there_is_room(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)
    store.put(DATASETS, "first", b"x" * 700_000)
    for content in (b"y" * 700_000, io.BytesIO(b"y" * 700_000)):
        with pytest.raises(EngineUnavailable, match="the disk is full"):
            store.put(DATASETS, "second", content)
    with pytest.raises(EngineUnavailable, match="the disk is full"):
        store.check()
    assert [path.name for path in files(small_disk)] == ["first@"]
    store.delete(DATASETS, "first")
    store.put(DATASETS, "second", b"y" * 700_000)


def test_keys_that_differ_in_their_last_letter_do_not_meet(store: DirectoryStore) -> None:
    store.put(DATASETS, "a", b"object")
    store.put(DATASETS, "a/b", b"below a folder of the same name")
    assert store.get(DATASETS, "a") == b"object"
    with pytest.raises(InvalidField):
        store.get(DATASETS, "a@")
