"""Which port is free, and who holds one that isn't. The second works on Linux; elsewhere the answer is None."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from regrow.local.processes import command_of


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """As many different ports that nothing listens on at this moment."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def split(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises `ValueError` that says what is wrong with it."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"'{address}' is no address: write host:port, with a port from 1 to 65535.")
    return host.strip("[]") or "127.0.0.1", int(port)


def problem_of(address: str) -> str | None:
    """Why nothing can listen on `host:port`; None where something can. Names who holds the port. Raises `ValueError`."""
    host, port = split(address)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return f"This machine knows no '{host}'."
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
        except PermissionError:
            return f"Port {port} needs more rights than this user has; ports above 1023 don't."
        except OSError as error:
            holder = who_listens(port)
            if holder is None and not _answers(host, port):
                return f"Nothing can listen on {address}: {error.strerror}."
            return f"Port {port} is taken{f' by {holder}' if holder else ''}."
    return None


def who_listens(port: int) -> str | None:
    """The process that listens on a TCP port, as `process 123 (python -m http.server)`, where this user may see it."""
    inodes = _listening_inodes(port)
    for entry in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return f"process {entry.parts[2]} ({command_of(int(entry.parts[2]))[:120] or 'unknown program'})"
    return None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            local, state, inode = (line.split()[i] for i in (1, 3, 9))
            if state == "0A" and int(local.rsplit(":", 1)[1], 16) == port:
                inodes.add(inode)
    return inodes
