"""Real Kafka, MinIO and PostgreSQL for tests.

In order: what the environment names (`REGROW_TEST_KAFKA_BOOTSTRAP`, `REGROW_TEST_MINIO_ENDPOINT`, `REGROW_TEST_POSTGRES_URL`);
a server of our own, started when the first test asks for it and ended with the session, where the folder of engines is at hand
(`REGROW_TEST_ENGINES`, else `../shared/engines`) or PostgreSQL's programs are on the PATH; else the test is skipped and says
which setting would run it. Every server listens on loopback, on a free port, and keeps its data in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
SHORT_LEASES = "group.min.session.timeout.ms=500"
"""Lets the members of a consumer group die faster than Kafka's least of 6 s."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A server process on a data folder. `kill` is SIGKILL to all of it; `start` goes on from the same folder."""

    name: str
    port: int
    folder: Path
    command: Sequence[str]
    ready: Callable[[], bool]
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Server:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, user=self.user,
                env={**os.environ, **self.environment}, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{(self.folder / 'log.txt').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """It keeps its connections and answers nobody, until `thaw`."""
        self._tell(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell(signal.SIGCONT)

    def _tell(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _signal(self, number: int) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minio:
    """Where an S3 store answers, and who may ask it."""

    endpoint: str
    access_key: str
    secret_key: str


def engines_folder() -> Path:
    return Path(os.environ.get("REGROW_TEST_ENGINES", ROOT.parent / "shared" / "engines"))


def kafka_server(folder: Path, extra: str = "") -> Server:
    """Skips where no Kafka is at hand."""
    script = _script("kafka", "REGROW_TEST_KAFKA_BOOTSTRAP", needs="java")
    port, controller = free_port(), free_port()
    return Server(
        name="Kafka", port=port, folder=folder, command=[str(script), str(folder / "kafka"), str(port), str(controller)],
        ready=lambda: _takes_connections(port), environment={"KAFKA_EXTRA": extra},
    )  # fmt: skip


def minio_server(folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> Server:
    """Skips where no MinIO is at hand. With a certificate and its key it speaks HTTPS alone."""
    script, port = _script("minio", "REGROW_TEST_MINIO_ENDPOINT"), free_port()
    environment, ready = {}, lambda: _answers(f"http://127.0.0.1:{port}/minio/health/ready")
    if certificate is not None and key is not None:
        certificates = folder / ".minio" / "certs"  # where it looks for them: below its home
        certificates.mkdir(parents=True)
        shutil.copy(certificate, certificates / "public.crt")
        shutil.copy(key, certificates / "private.key")
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # the program stays where it was unpacked
        environment, ready = {"HOME": str(folder), "XDG_CACHE_HOME": cache}, lambda: _takes_connections(port)
    return Server(
        name="MinIO", port=port, folder=folder, command=[str(script), str(folder / "minio"), str(port)],
        ready=ready, environment=environment,
    )  # fmt: skip


def postgres_server(folder: Path) -> Server:
    """A fresh cluster whose user `postgres` needs no password. Skips where PostgreSQL's programs aren't on the PATH.

    As another user it must reach its folder: below pytest's own, it is locked out as soon as another pytest starts.
    """
    initdb, postgres = shutil.which("initdb"), shutil.which("postgres")
    if initdb is None or postgres is None:
        pytest.skip("set REGROW_TEST_POSTGRES_URL to a PostgreSQL server to run this")
    port, user, data = free_port(), _postgres_user(), folder / "postgres"
    data.mkdir(parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(data, user)
        folder.chmod(folder.stat().st_mode | 0o011)
    make = [initdb, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", str(data)]
    done = subprocess.run(make, user=user, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")
    listen = [
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        f"unix_socket_directories={data}",
        "-c",
        "max_connections=300",
        "-c",
        "fsync=off",
    ]
    return Server(
        name="PostgreSQL", port=port, folder=folder, command=[postgres, "-D", str(data), "-p", str(port), *listen], user=user,
        ready=lambda: _accepts_sql(port),
    )  # fmt: skip


def postgres_url(server: Server) -> str:
    return f"postgresql://postgres@127.0.0.1:{server.port}/postgres"


@contextmanager
def new_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """The URL of an empty database, or of a copy of another, dropped afterwards."""
    name = f"regrow_test_{secrets.token_hex(6)}"
    admin = sa.create_engine(sa.make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server on which databases can be made."""
    if named := os.environ.get("REGROW_TEST_POSTGRES_URL"):
        yield named
        return
    with (
        TemporaryDirectory(prefix="regrow-postgres-", ignore_cleanup_errors=True) as folder,
        running(postgres_server(Path(folder))) as server,
    ):
        yield postgres_url(server)


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a broker that many tests share: each takes a topic prefix of its own."""
    if named := os.environ.get("REGROW_TEST_KAFKA_BOOTSTRAP"):
        yield named
        return
    with running(kafka_server(tmp_path_factory.mktemp("kafka"), extra=SHORT_LEASES)) as server:
        yield server.address


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A store that many tests share: each takes a bucket prefix of its own."""
    access = os.environ.get("REGROW_TEST_MINIO_ACCESS_KEY", "regrow")
    secret = os.environ.get("REGROW_TEST_MINIO_SECRET_KEY", "regrow-secret")
    if named := os.environ.get("REGROW_TEST_MINIO_ENDPOINT"):
        yield Minio(endpoint=named, access_key=access, secret_key=secret)
        return
    with running(minio_server(tmp_path_factory.mktemp("minio"))) as server:
        yield Minio(endpoint=f"http://{server.address}", access_key=access, secret_key=secret)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        yield server.start()
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _script(name: str, variable: str, needs: str = "") -> Path:
    script = engines_folder() / name
    if not script.is_file() or (needs and shutil.which(needs) is None):
        pytest.skip(f"set {variable} to a server, or REGROW_TEST_ENGINES to the folder of engines, to run this")
    return script


def _postgres_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    pytest.skip("set REGROW_TEST_POSTGRES_URL to a PostgreSQL server to run this")


def _takes_connections(port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _accepts_sql(port: int) -> bool:
    engine = sa.create_engine(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", connect_args={"connect_timeout": 2})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()
    return True
