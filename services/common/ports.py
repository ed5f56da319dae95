"""Who listens on a TCP port of this machine: turns "address in use" into a sentence with a name in it.

Reads Linux's `/proc`; elsewhere, or where another user owns the process, the answer is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"
_PROC = Path("/proc")


def who_listens(port: int) -> str | None:
    """`process 4711 (python -m services.labeling)`, or None where that can't be told. Never raises."""
    try:
        pid = holder_of(port)
        return None if pid is None else f"process {pid} ({_command(pid)})"
    except OSError:
        return None


def holder_of(port: int) -> int | None:
    """The process that listens there; None where that can't be told. Never raises."""
    try:
        inodes = set(_listening_inodes(port))
        return next(_holders(inodes), None) if inodes else None
    except OSError:
        return None


def data_folder_of(pid: int, service: str, default: Path) -> Path | None:
    """The data folder of a service of Regrow that runs as this process; None where that can't be told. Never raises."""
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
        found = dict(one.partition("=")[::2] for one in variables)
        names = (f"REGROW_{service.upper()}_DATA_DIR", "REGROW_DATA_DIR")
        if any(f"{name}_FILE" in found for name in names):
            return None
        folder = next((found[name] for name in names if found.get(name)), str(default))
        return ((_PROC / str(pid) / "cwd").readlink() / folder).resolve()
    except OSError:
        return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for columns in map(str.split, lines):
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _holders(inodes: set[str]) -> Iterator[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in _PROC.iterdir():
        if process.name.isdigit() and wanted & set(_open_files(process / "fd")):
            yield int(process.name)


def _open_files(folder: Path) -> Iterator[str]:
    try:
        for link in folder.iterdir():
            try:
                yield str(link.readlink())
            except OSError:
                continue
    except OSError:
        return


def _command(pid: int) -> str:
    words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return " ".join(word for word in words[:4] if word)[:120] or "unknown program"
