"""What a database's driver raises, in the words of the domain: nothing of the driver's text reaches a caller."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import URL

from services.common.errors import EngineUnavailable, FailedPrecondition

# https://www.sqlite.org/rescode.html: BUSY, LOCKED, IOERR, FULL, CANTOPEN are about the machine, not about the statement.
_SQLITE_PROBLEMS = {
    5: "it is locked by a long write",
    6: "it is locked by a long write",
    10: "its disk fails",
    13: "its disk is full",
    14: "its file can't be opened",
}
# A connection that PostgreSQL refuses has no code in psycopg, only libpq's text. In another language than English none of
# these is found, and the refusal is told as a connection that failed.
_REFUSALS = (
    (re.compile(r'database ".*" does not exist'), "it has no such database: make it with CREATE DATABASE"),
    (re.compile(r"password|pg_hba|SASL|GSSAPI|Peer auth|Ident auth|role \".*\" (does not exist|is not permitted)"),
     "it refuses the user or the password"),
    (re.compile(r"permission denied for database"), "its user may not connect to this database"),
    (re.compile(r"SSL|TLS|certificate"), "it and the URL don't agree on TLS: look at sslmode and sslrootcert"),
)  # fmt: skip


@contextmanager
def translated() -> Iterator[None]:
    """An engine that is locked, full or gone becomes `EngineUnavailable`; what a statement is to blame for goes through."""
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise EngineUnavailable("database", "all its connections are in use") from error
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        if (problem := _problem(error)) is None:
            raise
        raise EngineUnavailable("database", problem) from error


@contextmanager
def opening(address: URL) -> Iterator[None]:
    """As `translated`, and what waiting won't cure becomes `FailedPrecondition`. Says which database it is."""
    try:
        with translated():
            yield
    except EngineUnavailable as error:
        if address.get_backend_name() == "sqlite" or not isinstance(cause := error.__cause__, sa.exc.DBAPIError):
            raise
        where = f"PostgreSQL at {address.host or 'its socket'}:{address.port or 5432}, database '{address.database or ''}'"
        if (refusal := _refusal(cause)) is None:
            raise EngineUnavailable("database", f"{where}: {_problem(cause)}") from error
        raise FailedPrecondition(
            f"{where}, user '{address.username or ''}': {refusal}. The URL is that of REGROW_DATABASE_URL"
            " (or REGROW_<SERVICE>_DATABASE_URL).",
            reason="DATABASE_REFUSED",
        ) from error


def sqlite_problem(error: BaseException | None) -> str | None:
    """What is wrong with the file or its disk, or None where the statement is to blame."""
    return _SQLITE_PROBLEMS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)


def _problem(error: sa.exc.DBAPIError) -> str | None:
    if isinstance(error.orig, sqlite3.Error):
        return sqlite_problem(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    if state in ("40001", "40P01"):  # serialization_failure, deadlock_detected
        return "two writes collided"
    if state == "55P03":  # lock_not_available
        return "it is locked by a long write"
    if state is None:
        return _refusal(error) or "it doesn't answer"
    return "the connection failed" if error.connection_invalidated or state[:2] in ("08", "53", "57") else None


def _refusal(error: sa.exc.DBAPIError) -> str | None:
    """Why PostgreSQL lets us in neither now nor later; None where it may."""
    if getattr(error.orig, "sqlstate", None) is not None or "connection failed" not in (text := str(error.orig)):
        return None
    return next((problem for pattern, problem in _REFUSALS if pattern.search(text)), None)
