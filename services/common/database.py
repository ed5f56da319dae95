"""One database per service: SQLite (embedded, WAL) or PostgreSQL, behind the same few doors.

- `open_database` brings the schema to the newest migration first. The whole upgrade is one transaction under the
  database's own lock, so any number of processes may start at once and a crash leaves the old schema.
- `Database.session()` is the one way to write: it commits when its block ends well and rolls back when it doesn't. One runs
  at a time, so that what a writer read first still holds when it writes: SQLite begins IMMEDIATE, PostgreSQL takes a lock
  of the service's schema.
- `Database.reading()` is a snapshot that refuses writes.
- On PostgreSQL services may share a database: each has a schema of its own, which the URL's `search_path` names.
- An engine that is locked, full or gone becomes `EngineUnavailable`; nothing of the driver's text reaches a caller.

A service derives one abstract base with its own metadata, and its tables from that:

    class RegistryTable(Table):
        __abstract__ = True
        metadata = new_metadata()

    class Model(RegistryTable):
        __tablename__ = "models"
        id: Mapped[int] = mapped_column(primary_key=True)
        created: Mapped[datetime] = mapped_column(default=now)       # UtcDateTime

Its `migrations/env.py` is three lines: import `context` from alembic, import the metadata, `run_migrations(context, metadata)`.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import NullPool

from services.common.database_problems import opening, sqlite_problem, translated
from services.common.errors import EngineUnavailable, FailedPrecondition, InvalidField

_BUSY_MILLISECONDS = 10_000
_MIGRATION_WAIT_MILLISECONDS = 120_000
_MIGRATION_LOCK = 0x7265_6772_6F77  # "regrow", as PostgreSQL's advisory lock
# A server that vanished from the network is noticed in seconds: libpq alone would wait for minutes. The URL's own values win.
_POSTGRES_PATIENCE = {"connect_timeout": 5, "keepalives_idle": 15, "keepalives_interval": 5, "tcp_user_timeout": 20_000}
_POSTGRES_SNAPSHOT: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
# Migrations take the database, a writer its schema; the timeout is that of `_BUSY_MILLISECONDS`.
_POSTGRES_WRITE_LOCK = (
    f"SET LOCAL lock_timeout = {_BUSY_MILLISECONDS}; SELECT pg_advisory_xact_lock({0x7265_6772}, hashtext(current_schema()))"
)
_EXAMPLES = "Use 'sqlite:///regrow.db' or 'postgresql://user:password@host/name'."
_NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
_one_upgrade_at_a_time = threading.Lock()  # alembic keeps its context in a module


def now() -> datetime:
    """The time, aware, in UTC, in whole microseconds (what both databases keep)."""
    return datetime.now(UTC)


def new_etag() -> str:
    """An etag that was never used before."""
    return secrets.token_hex(8)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware datetimes in and out, on SQLite too, which keeps no zone. A naive one is a bug and is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use services.common.database.now()")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def new_metadata() -> sa.MetaData:
    """Metadata whose constraints have names, so that migrations can change them on every database."""
    return sa.MetaData(naming_convention=_NAMING)


class Table(DeclarativeBase):
    """Root of all tables. Services share this class but no metadata: each derives one abstract base (see the module)."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "__tablename__" in cls.__dict__ and cls.metadata is Table.metadata:
            raise TypeError(
                f"{cls.__name__} needs its service's metadata. Derive it from a base of the service: "
                "class ServiceTable(Table): __abstract__ = True; metadata = new_metadata()"
            )
        super().__init_subclass__(**kwargs)


class Database:
    """An open database. Safe for many threads; a session belongs to one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reader = engine.execution_options(read_only=True, **({} if self.is_sqlite else _POSTGRES_SNAPSHOT))

    @property
    def is_sqlite(self) -> bool:
        """Where a statement must differ between the two."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A write transaction: commits at the end of the block, rolls back if it raises. Raises `EngineUnavailable`."""
        with translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent snapshot that other writers don't wait for. The database refuses writes in it."""
        with translated(), Session(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    def check(self) -> None:
        """Raises `EngineUnavailable` where the database can't answer now."""
        with self.reading() as session:
            session.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()


def open_database(url: str, *, migrations: Path) -> Database:
    """Opens the database and brings it to the newest revision in `migrations`; many processes may do so at once.

    Raises `InvalidField` for a URL that can't work, `FailedPrecondition` where a newer Regrow wrote it (`DATABASE_NEWER`)
    or the database lets us in neither now nor later (`DATABASE_REFUSED`), `EngineUnavailable` where it is away.
    """
    address = _address(url)
    with opening(address):
        _upgrade(address, migrations)
    if address.get_backend_name() != "sqlite":
        engine = sa.create_engine(address, pool_size=8, max_overflow=24, pool_pre_ping=True, pool_recycle=1800)
        _let_one_write(engine)
        return Database(engine)
    engine = sa.create_engine(address, pool_size=8, max_overflow=24, connect_args={"check_same_thread": False})
    _tune_sqlite(engine, busy_milliseconds=_BUSY_MILLISECONDS, foreign_keys=True)
    return Database(engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """How a database stands to the migrations; `unknown` where a newer Regrow wrote it. `time` is its clock, if it has one."""

    current: str
    newest: str
    unknown: bool
    time: datetime | None


def state_of(url: str, *, migrations: Path) -> SchemaState:
    """Looks, and changes nothing. Raises as `open_database` does."""
    address = _address(url)
    script = ScriptDirectory(str(migrations))
    engine = sa.create_engine(address, poolclass=NullPool)
    try:
        with opening(address), engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision() or ""
            time = None if address.get_backend_name() == "sqlite" else connection.scalar(sa.select(sa.func.clock_timestamp()))
    finally:
        engine.dispose()
    known = {revision.revision for revision in script.walk_revisions()}
    return SchemaState(
        current=current, newest=script.get_current_head() or "", unknown=bool(current) and current not in known, time=time
    )


def run_migrations(context: Any, metadata: sa.MetaData) -> None:
    """All that a service's `migrations/env.py` does. `context` is `alembic.context`."""
    options: dict[str, Any] = {"target_metadata": metadata, "render_as_batch": True, "compare_type": True}
    if context.is_offline_mode():
        context.configure(url=context.config.get_main_option("sqlalchemy.url"), literal_binds=True, **options)
        _migrate(context)
    elif (connection := context.config.attributes.get("connection")) is not None:
        context.configure(connection=connection, **options)
        _migrate(context)
    else:
        with sa.create_engine(_address(context.config.get_main_option("sqlalchemy.url"))).connect() as own:
            context.configure(connection=own, **options)
            _migrate(context)


def schema_differences(database: Database, metadata: sa.MetaData) -> list[str]:
    """How the migrated database differs from the tables in the code; empty when the migrations are complete."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference) for difference in compare_metadata(context, metadata)]


def _migrate(context: EnvironmentContext) -> None:
    with context.begin_transaction():
        context.run_migrations()


def _address(url: str) -> URL:
    try:
        address = make_url(url.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError:
        raise InvalidField("database_url", f"isn't a database URL. {_EXAMPLES}") from None
    if address.get_backend_name() == "postgresql":
        if find_spec("psycopg") is None:
            raise InvalidField("database_url", "needs a package that isn't installed. Install 'psycopg[binary]'.")
        patience = {name: str(value) for name, value in _POSTGRES_PATIENCE.items() if name not in address.query}
        return address.set(drivername="postgresql+psycopg").update_query_dict(patience)
    if address.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidField("database_url", f"'{address.drivername}' isn't supported. {_EXAMPLES}")
    if not address.database or address.database == ":memory:":
        raise InvalidField("database_url", f"names no file, and a database in memory ends with its connection. {_EXAMPLES}")
    return address


def _upgrade(address: URL, migrations: Path) -> None:
    engine = sa.create_engine(address, poolclass=NullPool)
    if address.get_backend_name() == "sqlite":
        _make_folder(Path(address.database or ""))
        # SQLite changes a table by rebuilding it, and dropping the old one would cascade if foreign keys were enforced.
        _tune_sqlite(engine, busy_milliseconds=_MIGRATION_WAIT_MILLISECONDS, foreign_keys=False)
        _use_write_ahead_log(engine)
    with _one_upgrade_at_a_time, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _make_schema(connection)
        _run_alembic(connection, migrations)
        if engine.dialect.name == "sqlite":
            _check_references(connection)


def _make_schema(connection: Connection) -> None:
    """The schema that the URL's `search_path` names, where it isn't there yet. Raises `FailedPrecondition`."""
    if connection.scalar(sa.text("SELECT current_schema()")) is not None:
        return
    schema = str(connection.scalar(sa.text("SHOW search_path"))).split(",")[0].strip(' "')
    try:
        connection.execute(sa.schema.CreateSchema(schema))
    except sa.exc.ProgrammingError as error:
        raise FailedPrecondition(
            f"The schema '{schema}' can't be made in the database '{connection.engine.url.database}'. Let its user make"
            f' schemas (GRANT CREATE ON DATABASE), or make it: CREATE SCHEMA "{schema}" AUTHORIZATION that user.',
            reason="SCHEMA_REFUSED",
        ) from error


def _run_alembic(connection: Connection, migrations: Path) -> None:
    config = alembic.config.Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    try:
        alembic.command.upgrade(config, "head")
    except alembic.util.CommandError as error:
        if "Can't locate revision" not in str(error):
            raise
        raise FailedPrecondition(
            f"The database '{connection.engine.url.database}' was written by a newer Regrow."
            " Install that version again, or restore a backup.",
            reason="DATABASE_NEWER",
        ) from error


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"The folder of the database '{file}' can't be made ({error.strerror})."
            " Set REGROW_DATA_DIR or REGROW_DATABASE_URL.",
            reason="DATA_DIR_UNUSABLE",
        ) from error


def _check_references(connection: Connection) -> None:
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
        raise RuntimeError(f"the migration would leave {len(broken)} rows that point nowhere, the first in '{broken[0][0]}'")


def _use_write_ahead_log(engine: Engine) -> None:
    """The mode is kept in the file. Switching needs the file alone, and SQLite doesn't wait for that, so we do."""
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while (problem := _wal_problem(engine)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if problem:
        raise EngineUnavailable("database", problem)


def _wal_problem(engine: Engine) -> str | None:
    try:
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
    except (sqlite3.OperationalError, sa.exc.OperationalError) as error:
        cause = error.orig if isinstance(error, sa.exc.OperationalError) else error
        return sqlite_problem(cause) or "it can't be opened"
    return None


def _tune_sqlite(engine: Engine, *, busy_milliseconds: int, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # else the driver begins a transaction by itself, and only at the first write
        connection.execute(f"PRAGMA busy_timeout={busy_milliseconds}")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        read_only = bool(connection.get_execution_options().get("read_only"))
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _let_one_write(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if not connection.get_execution_options().get("read_only"):
            connection.exec_driver_sql(_POSTGRES_WRITE_LOCK)
