"""What a folder needs to keep a promise: writes that survive a power cut, and errors in the words of the domain."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import EngineUnavailable

LEAST_FREE_BYTES = 16 << 20
"""Below this a disk counts as full: the next part of a data set wouldn't fit."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_is_full() -> EngineUnavailable:
    """The one wording for a full disk."""
    return EngineUnavailable("objects", "the disk is full; free some space")


@contextmanager
def engine_errors(*, passing: type[OSError] | None = None) -> Iterator[None]:
    """Turns what the file system refuses into `EngineUnavailable`; `passing` goes through as it is."""
    try:
        yield
    except OSError as error:
        if passing is not None and isinstance(error, passing):
            raise
        if error.errno in _FULL:
            raise disk_is_full() from error
        raise EngineUnavailable("objects", f"the file system answers '{error.strerror}'") from error


def publish(staged: Path, path: Path, *, replace: bool) -> None:
    """Gives a finished file its name at once and for good. Without `replace`, a taken name raises `FileExistsError`."""
    make_folder(path.parent)
    if replace:
        staged.replace(path)
    else:
        path.hardlink_to(staged)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """`mkdir -p` whose new folders outlive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; syncing a file alone doesn't."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_room(folder: Path) -> None:
    """Raises `EngineUnavailable` where the disk is as good as full."""
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        raise disk_is_full()
