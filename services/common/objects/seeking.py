"""What all readers of objects have in common: a place in bytes whose number is known."""

from __future__ import annotations

import io
import os


class SeekableReader(io.RawIOBase):
    """An object as a seekable file. Who derives it reads from `_at` on in `readinto`, and moves it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As `io.IOBase.seek`; past the end is allowed and reads nothing."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("a seek to before the object's first byte")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """The place of the next read."""
        return self._at
