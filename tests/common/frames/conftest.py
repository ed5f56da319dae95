from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from services.common.frames.importing import Imported, Wish, import_file
from services.common.objects.directory import DirectoryStore

Importer = Callable[..., Imported]


@pytest.fixture
def objects(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "objects")


@pytest.fixture
def import_bytes(tmp_path: Path, objects: DirectoryStore) -> Importer:
    """Imports content as a file of that name; every call has a root of its own, `p/d/<n>`."""
    numbers = count()

    def import_content(content: bytes, file_name: str = "", **wish: object) -> Imported:
        number = next(numbers)
        scratch = tmp_path / f"scratch-{number}"
        scratch.mkdir()
        path = tmp_path / f"upload-{number}"
        path.write_bytes(content)
        return import_file(objects, f"p/d/{number}", path, scratch, Wish(file_name=file_name, **wish))

    return import_content
