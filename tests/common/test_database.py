"""The database floor: migrations, transactions, times, request ids; on PostgreSQL too."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.struct_pb2 import Struct
from real_engines import free_port, postgres_server, postgres_url, running
from sqlalchemy.orm import Mapped, mapped_column

from services.common.database import Database, Table, new_etag, new_metadata, now, open_database, schema_differences
from services.common.errors import EngineUnavailable, FailedPrecondition, InvalidField, RequestIdReused
from services.common.idempotency import KEEP, IdempotencyColumns, fingerprint, recall, remember


class ShopTable(Table):
    __abstract__ = True
    metadata = new_metadata()


class Item(ShopTable):
    __tablename__ = "items"
    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime] = mapped_column(default=now)
    parent: Mapped[str | None] = mapped_column(sa.ForeignKey("items.name"))


class IdempotencyKey(IdempotencyColumns, ShopTable):
    __tablename__ = "idempotency_keys"


FIRST = '''
"""Makes the tables."""
import sqlalchemy as sa
from alembic import op
from services.common.database import UtcDateTime
revision, down_revision = "0001", None
def upgrade():
    op.create_table(
        "items",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("parent", sa.String()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_items")),
        sa.ForeignKeyConstraint(["parent"], ["items.name"], name=op.f("fk_items_parent")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(300), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "request_id", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created"), "idempotency_keys", ["created"])
'''
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    with op.batch_alter_table("items") as table:
        table.alter_column("count", type_=sa.BigInteger())
    {then}
"""
ENVIRONMENT = """
from alembic import context
from services.common.database import new_metadata, run_migrations
run_migrations(context, new_metadata())
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "50% new migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENVIRONMENT)
    (folder / "versions" / "0001_first.py").write_text(FIRST)
    return folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/shop.db" if request.param == "sqlite" else request.getfixturevalue("postgres_database")


@pytest.fixture(scope="module")
def locked_postgres() -> Iterator[sa.URL]:
    """A server that asks the user `locked` for the password `right`, and lets it make nothing."""
    with TemporaryDirectory(prefix="regrow-postgres-", ignore_cleanup_errors=True) as folder:
        server = postgres_server(Path(folder))
        rules = Path(folder) / "postgres" / "pg_hba.conf"
        rules.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        with running(server):
            url = sa.make_url(postgres_url(server))
            admin = sa.create_engine(url.set(drivername="postgresql+psycopg"))
            with admin.begin() as connection:
                connection.exec_driver_sql("CREATE USER locked PASSWORD 'right'")
            admin.dispose()
            yield url


@pytest.fixture
def database(url: str, migrations: Path) -> Iterator[Database]:
    opened = open_database(url, migrations=migrations)
    yield opened
    opened.close()


def test_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    assert schema_differences(database, ShopTable.metadata) == []


def test_a_missing_migration_is_told(database: Database) -> None:
    more = new_metadata()
    for table in ShopTable.metadata.sorted_tables:
        table.to_metadata(more)
    sa.Table("forgotten", more, sa.Column("id", sa.Integer, primary_key=True))
    assert "forgotten" in schema_differences(database, more)[0]


def test_a_session_commits_at_its_end_and_rolls_back_when_it_raises(database: Database) -> None:
    with database.session() as session:
        session.add(Item(name="kept"))
    with pytest.raises(ZeroDivisionError), database.session() as session:
        session.add(Item(name="lost"))
        session.flush()
        raise ZeroDivisionError
    with database.reading() as session:
        assert session.scalars(sa.select(Item.name)).all() == ["kept"]


def test_a_reading_session_refuses_writes_and_the_next_session_may_write(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError), database.reading() as session:
        session.execute(sa.insert(Item).values(name="sneaked", count=0, created=now()))
    with database.session() as session:
        session.add(Item(name="written"))
    with database.reading() as session:
        assert session.scalars(sa.select(Item.name)).all() == ["written"]


def test_a_reading_session_sees_one_snapshot(database: Database) -> None:
    with database.reading() as reading:
        assert reading.scalars(sa.select(Item.name)).all() == []
        with database.session() as session:
            session.add(Item(name="later"))
        assert reading.scalars(sa.select(Item.name)).all() == []


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.add(Item(name="child", parent="nobody"))


def test_racing_read_then_write_transactions_lose_no_update(database: Database) -> None:
    with database.session() as session:
        session.add(Item(name="shared"))

    def add_ten() -> None:
        for _ in range(10):
            with database.session() as session:
                item = session.scalars(sa.select(Item).with_for_update()).one()
                item.count += 1

    threads = [threading.Thread(target=add_ten) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.scalars(sa.select(Item.count)).one() == 60


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    with database.session() as session:
        session.add(Item(name="timed", created=moment))
    with database.reading() as session:
        read = session.scalars(sa.select(Item.created)).one()
    assert read == moment
    assert read.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(sa.exc.StatementError, match="no time zone"), database.session() as session:
        session.add(Item(name="naive", created=datetime(2026, 1, 1)))


def test_a_request_id_is_recalled_and_never_reused_for_other_content(database: Database) -> None:
    with database.session() as session:
        assert recall(session, IdempotencyKey, scope="p", request_id="r1", fingerprint="a") is None
        remember(session, IdempotencyKey, scope="p", request_id="r1", fingerprint="a", result="projects/p/models/m")
    with database.session() as session:
        assert recall(session, IdempotencyKey, scope="p", request_id="r1", fingerprint="a") == "projects/p/models/m"
        assert recall(session, IdempotencyKey, scope="q", request_id="r1", fingerprint="a") is None
        with pytest.raises(RequestIdReused):
            recall(session, IdempotencyKey, scope="p", request_id="r1", fingerprint="b")
        with pytest.raises(InvalidField, match="request_id"):
            recall(session, IdempotencyKey, scope="p", request_id="r" * 129, fingerprint="a")


def test_an_empty_request_id_keeps_nothing(database: Database) -> None:
    with database.session() as session:
        remember(session, IdempotencyKey, scope="p", request_id="", fingerprint="a", result="x")
        assert recall(session, IdempotencyKey, scope="p", request_id="", fingerprint="a") is None
        assert session.scalars(sa.select(IdempotencyKey)).all() == []


def test_old_request_ids_are_forgotten(database: Database) -> None:
    with database.session() as session:
        remember(session, IdempotencyKey, scope="p", request_id="old", fingerprint="a", result="x")
        session.execute(sa.update(IdempotencyKey).values(created=now() - KEEP - timedelta(seconds=1)))
        remember(session, IdempotencyKey, scope="p", request_id="new", fingerprint="a", result="x")
        assert session.scalars(sa.select(IdempotencyKey.request_id)).all() == ["new"]


def test_of_racing_calls_with_one_request_id_one_does_the_work(database: Database) -> None:
    done: list[str] = []
    answers: list[str] = []
    start = threading.Barrier(5)

    def call(number: int) -> None:
        start.wait()
        with database.session() as session:
            result = recall(session, IdempotencyKey, scope="p", request_id="same", fingerprint="f")
            if result is None:
                result = f"made by {number}"
                done.append(result)
                remember(session, IdempotencyKey, scope="p", request_id="same", fingerprint="f", result=result)
        answers.append(result)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert answers == done * 5


def test_a_fingerprint_tells_content_apart_but_not_order() -> None:
    one, same, other = Struct(), Struct(), Struct()
    one.update({"a": 1, "b": 2})
    same.update({"b": 2, "a": 1})
    other.update({"a": 1, "b": 3})
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)


def test_a_start_waits_while_another_process_migrates(migrations: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        opened = pool.submit(open_database, f"sqlite:///{file}", migrations=migrations)
        with pytest.raises(TimeoutError):
            opened.result(timeout=0.1)
        other.execute("COMMIT")
        database = opened.result(timeout=20)
    assert schema_differences(database, ShopTable.metadata) == []
    database.close()


@pytest.mark.slow
def test_two_processes_that_start_at_once_migrate_once(url: str, migrations: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    slow = FIRST.replace(
        "def upgrade():\n", f"def upgrade():\n    open({str(ran)!r}, 'a').write('x'); __import__('time').sleep(0.3)\n"
    )
    (migrations / "versions" / "0001_first.py").write_text(slow)
    program = (
        "import sys; from pathlib import Path; from services.common.database import open_database; sys.stdin.read();"
        f"open_database({url!r}, migrations=Path({str(migrations)!r})).check(); print('open')"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) for _ in range(2)]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    for process in started:
        assert process.stdout is not None
        assert process.stdout.read() == "open\n"
        assert process.wait(timeout=20) == 0
    assert ran.read_text() == "x"


def test_a_migration_that_fails_leaves_the_old_schema_and_rows(url: str, migrations: Path) -> None:
    before = open_database(url, migrations=migrations)
    with before.session() as session:
        session.add(Item(name="precious"))
    (migrations / "versions" / "0002_second.py").write_text(SECOND.format(then="raise RuntimeError('half way')"))
    with pytest.raises(RuntimeError, match="half way"):
        open_database(url, migrations=migrations)
    (migrations / "versions" / "0002_second.py").unlink()
    after = open_database(url, migrations=migrations)
    with after.reading() as session:
        assert session.scalars(sa.select(Item.name)).all() == ["precious"]
    assert schema_differences(after, ShopTable.metadata) == []
    before.close()
    after.close()


def test_rebuilding_a_table_keeps_the_rows_that_point_to_it(url: str, migrations: Path) -> None:
    before = open_database(url, migrations=migrations)
    with before.session() as session:
        session.add(Item(name="parent"))
        session.flush()
        session.add(Item(name="child", parent="parent"))
    before.close()
    (migrations / "versions" / "0002_second.py").write_text(SECOND.format(then="pass"))
    after = open_database(url, migrations=migrations)
    with after.reading() as session:
        assert session.scalars(sa.select(Item.name).order_by(Item.name)).all() == ["child", "parent"]
    after.close()


def test_a_database_of_a_newer_release_is_refused_with_the_cure(url: str, migrations: Path) -> None:
    (migrations / "versions" / "0002_second.py").write_text(SECOND.format(then="pass"))
    open_database(url, migrations=migrations).close()
    (migrations / "versions" / "0002_second.py").unlink()
    with pytest.raises(FailedPrecondition, match="newer Regrow") as refused:
        open_database(url, migrations=migrations)
    assert refused.value.reason == "DATABASE_NEWER"


@pytest.mark.parametrize("wrong", ["", "not a url", "mysql://host/db", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_work_is_refused(wrong: str, migrations: Path) -> None:
    with pytest.raises(InvalidField, match="database_url"):
        open_database(wrong, migrations=migrations)


def test_a_file_that_cannot_be_opened_is_told_without_the_drivers_text(migrations: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.common.database._BUSY_MILLISECONDS", 50)
        with pytest.raises(EngineUnavailable, match="can't be opened"):
            open_database(f"sqlite:///{tmp_path}/folder.db", migrations=migrations)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"database": "nowhere"}, "database 'nowhere', user 'postgres': it has no such database: make it with CREATE DATABASE"),
        ({"username": "nobody"}, "user 'nobody': it refuses the user or the password"),
        ({"username": "locked", "password": "wrong"}, "user 'locked': it refuses the user or the password"),
        ({"username": "locked", "password": None}, "user 'locked': it refuses the user or the password"),
        ({"query": {"sslmode": "require"}}, "agree on TLS: look at sslmode"),
    ],
)
def test_a_database_that_lets_us_in_neither_now_nor_later_is_told_with_the_cure(
    locked_postgres: sa.URL, migrations: Path, change: dict[str, Any], cause: str
) -> None:
    url = locked_postgres.set(**change).render_as_string(hide_password=False)
    with pytest.raises(
        FailedPrecondition, match=rf"^PostgreSQL at 127\.0\.0\.1:\d+, .*{cause}.*REGROW_DATABASE_URL"
    ) as refused:
        open_database(url, migrations=migrations)
    assert refused.value.reason == "DATABASE_REFUSED"
    assert "wrong" not in refused.value.message


@pytest.mark.slow
def test_a_user_without_the_right_to_make_its_schema_is_told_what_to_grant(locked_postgres: sa.URL, migrations: Path) -> None:
    url = locked_postgres.set(username="locked", password="right", query={"options": "-csearch_path=shop"})
    with pytest.raises(FailedPrecondition, match=r"schema 'shop' can't be made.*GRANT CREATE ON DATABASE") as refused:
        open_database(url.render_as_string(hide_password=False), migrations=migrations)
    assert refused.value.reason == "SCHEMA_REFUSED"


def test_a_postgresql_that_does_not_answer_is_told_with_its_address(migrations: Path) -> None:
    with pytest.raises(
        EngineUnavailable, match=f"PostgreSQL at 127.0.0.1:{(port := free_port())}, database 'shop': it doesn't"
    ):
        open_database(f"postgresql://postgres@127.0.0.1:{port}/shop", migrations=migrations)


def test_a_locked_database_is_unavailable_and_names_a_time_to_come_back(migrations: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.common.database._BUSY_MILLISECONDS", 50)
        database = open_database(f"sqlite:///{tmp_path}/shop.db", migrations=migrations)
    with database.session() as first:
        first.add(Item(name="first"))
        first.flush()
        with pytest.raises(EngineUnavailable, match="locked") as locked, database.session() as second:
            second.add(Item(name="second"))
    assert locked.value.retry_after > timedelta(0)
    database.close()


def test_a_table_without_its_services_metadata_is_refused() -> None:
    with pytest.raises(TypeError, match="new_metadata"):
        type("Stray", (Table,), {"__tablename__": "strays", "__annotations__": {}})


def test_etags_differ() -> None:
    assert len({new_etag() for _ in range(100)}) == 100


def test_a_writer_finds_at_its_write_what_it_read_before(database: Database) -> None:
    """Eight at once count up by reading and then writing; on both databases none of the counts is lost."""
    with database.session() as session:
        session.add(Item(name="counter", count=0))

    def count_up() -> None:
        for _ in range(5):
            with database.session() as session:
                seen = session.scalar(sa.select(Item.count).where(Item.name == "counter"))
                time.sleep(0.002)
                session.execute(sa.update(Item).where(Item.name == "counter").values(count=seen + 1))

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.scalar(sa.select(Item.count).where(Item.name == "counter")) == 40


@pytest.mark.slow
class TestADatabaseThatServicesShare:
    """Each has a schema of its own there, made at its first start."""

    def url(self, server: str, service: str) -> str:
        return sa.make_url(server).update_query_dict({"options": f"-csearch_path={service}"}).render_as_string(False)

    def test_services_of_the_same_tables_do_not_meet(self, postgres_database: str, migrations: Path) -> None:
        urls = [self.url(postgres_database, service) for service in ("shop", "bank", "shop")]
        with ThreadPoolExecutor() as pool:
            shop, bank, again = pool.map(lambda url: open_database(url, migrations=migrations), urls)
        with shop.session() as session:
            session.add(Item(name="of the shop"))
        with bank.reading() as session:
            assert session.scalars(sa.select(Item.name)).all() == []
        with again.reading() as session:
            assert session.scalars(sa.select(Item.name)).all() == ["of the shop"]
        assert schema_differences(bank, ShopTable.metadata) == []
        for opened in (shop, bank, again):
            opened.close()

    def test_a_writer_of_one_service_does_not_wait_for_one_of_another(self, postgres_database: str, migrations: Path) -> None:
        shop, bank = (open_database(self.url(postgres_database, one), migrations=migrations) for one in ("shop", "bank"))
        with shop.session() as first, bank.session() as second:
            first.add(Item(name="a"))
            second.add(Item(name="b"))
        shop.close()
        bank.close()

    def test_a_user_that_may_make_no_schema_is_told_what_to_do(self, postgres_database: str, migrations: Path) -> None:
        name = sa.make_url(postgres_database).database
        role = f"plain_{name}"
        admin = sa.create_engine(
            sa.make_url(postgres_database).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'plain'")
            url = sa.make_url(self.url(postgres_database, "shop")).set(username=role, password="plain")
            try:
                with pytest.raises(FailedPrecondition, match=r"schema 'shop' can't be made.*GRANT CREATE") as told:
                    open_database(url.render_as_string(False), migrations=migrations)
                assert told.value.reason == "SCHEMA_REFUSED"
                connection.exec_driver_sql(f'CREATE SCHEMA shop AUTHORIZATION "{role}"')
                open_database(url.render_as_string(False), migrations=migrations).close()
            finally:
                connection.exec_driver_sql(f"DROP OWNED BY {role}")
                connection.exec_driver_sql(f"DROP ROLE {role}")
        admin.dispose()
