"""An upload on its way to disk: bounded in size, its sha256 taken, gone when the block ends, however it ends."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import EngineUnavailable, InvalidField, TooLarge
from services.common.frames.sniffing import readable_size

_ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A complete upload. `directory` is for scratch."""

    path: Path
    directory: Path
    sha256: str
    size: int


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """An empty directory under `folder`, deleted at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=folder))
    except OSError as error:
        raise EngineUnavailable("spool", f"no folder can be made for the upload ({error.strerror})") from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def spooled(folder: Path, chunks: Iterable[bytes], *, most_bytes: int) -> Iterator[Spooled]:
    """Writes the chunks to a file under `folder`. Raises `TooLarge`, or `EngineUnavailable` where the disk is full."""
    with scratch(folder) as directory:
        path, inner = directory / "upload", directory / "scratch"
        inner.mkdir()
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > most_bytes:
                    raise TooLarge(
                        "The file", limit=readable_size(most_bytes), cure="Import it in parts, or pack it with gzip."
                    )
                digest.update(chunk)
                _write(file.write, chunk)
            _write(lambda _: file.flush(), b"")
        yield Spooled(path=path, directory=inner, sha256=digest.hexdigest(), size=size)


def check_sha256(upload: Spooled, expected: str) -> None:
    """Raises `InvalidField` where the caller's digest isn't that of the bytes that came."""
    if expected and expected.strip().lower().removeprefix("sha256:") != upload.sha256:
        raise InvalidField(
            "content_sha256", f"the {upload.size:,} bytes that came have the sha256 {upload.sha256}. Upload the file again."
        )


def sweep(folder: Path) -> None:
    """Deletes what processes that were killed left behind more than a day ago."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _write(write: object, chunk: bytes) -> None:
    try:
        write(chunk)  # type: ignore[operator]
    except OSError as error:
        raise EngineUnavailable("spool", f"the upload can't be kept on disk ({error.strerror})") from error
