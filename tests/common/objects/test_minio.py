"""What only the S3 store has: a network, credentials, certificates, parts, links, and other people's objects."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from minio import Minio as Client
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import ServerError
from real_engines import ROOT, Minio, Server, free_port, minio_server, running

from services.common.errors import AlreadyExists, DigestMismatch, EngineUnavailable, FailedPrecondition, NotFound
from services.common.objects import DATASETS, MODELS, objects_from
from services.common.objects.measured import MeasuredStore
from services.common.objects.minio_errors import s3_errors
from services.common.objects.minio_reading import WINDOW_BYTES
from services.common.objects.minio_store import PART_BYTES, MinioStore
from services.common.settings import CommonSettings

pytestmark = pytest.mark.slow
MIB = 1 << 20
prefixes = (f"p{random.getrandbits(40):x}-" for _ in itertools.count())


def settings_for(folder: Path, endpoint: str, **more: Any) -> CommonSettings:
    here = {"data_dir": folder, "minio_endpoint": endpoint, "minio_bucket_prefix": next(prefixes)}
    return CommonSettings(**{**here, "minio_access_key": "regrow", "minio_secret_key": "regrow-secret", **more})


def open_store(settings: CommonSettings) -> MinioStore:
    store = objects_from(settings)
    assert isinstance(store, MeasuredStore) and isinstance(store.engine, MinioStore)
    return store.engine


@pytest.fixture
def settings(minio: Minio, tmp_path: Path) -> CommonSettings:
    return settings_for(tmp_path, minio.endpoint, minio_access_key=minio.access_key, minio_secret_key=minio.secret_key)


@pytest.fixture
def store(settings: CommonSettings) -> MinioStore:
    return open_store(settings)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of our own, which a test may kill."""
    with running(minio_server(tmp_path)) as started:
        yield started


@pytest.fixture
def client(minio: Minio) -> Client:
    address = minio.endpoint.removeprefix("http://")
    return Client(address, access_key=minio.access_key, secret_key=minio.secret_key, secure=False, region="us-east-1")


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class TestLargeObjects:
    """Larger than one part and one window."""

    def test_parts_and_windows_give_the_same_bytes_back(self, store: MinioStore, tmp_path: Path) -> None:
        content = content_of(2 * PART_BYTES + 12_345)
        (tmp_path / "local").write_bytes(content)
        pieces = (content[at : at + 777_777] for at in range(0, len(content), 777_777))
        for put in (store.put(DATASETS, "a", pieces), store.put_file(DATASETS, "a", tmp_path / "local", if_absent=False)):
            assert (put.size, put.digest) == (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
        assert store.get(DATASETS, "a") == content
        assert b"".join(store.read(DATASETS, "a", offset=5, length=WINDOW_BYTES + 9)) == content[5 : WINDOW_BYTES + 14]
        with store.open(DATASETS, "a") as file:
            file.seek(WINDOW_BYTES - 3)
            assert file.read(WINDOW_BYTES + 6) == content[WINDOW_BYTES - 3 : 2 * WINDOW_BYTES + 3]

    def test_of_racing_uploads_in_parts_exactly_one_wins(self, store: MinioStore) -> None:
        start, outcomes = threading.Barrier(3), []

        def write(number: int) -> None:
            def content() -> Iterator[bytes]:
                yield bytes([number]) * PART_BYTES
                start.wait(30)
                yield bytes([number]) * MIB

            try:
                store.put(MODELS, "prize", content(), if_absent=True)
                outcomes.append(number)
            except AlreadyExists:
                pass

        threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [set(store.get(MODELS, "prize"))] == [{number} for number in outcomes]

    def test_memory_stays_bounded_whatever_the_size(self, settings: CommonSettings) -> None:
        program = (
            "import resource, sys\nfrom pathlib import Path\nfrom services.common.objects import objects_from\n"
            "from services.common.settings import CommonSettings\n"
            "store = objects_from(CommonSettings())\n"
            "store.put('regrow-datasets', 'warm', b'x')\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "store.put('regrow-datasets', 'large', (bytes([n]) * (1 << 20) for n in range(200)))\n"
            "size = sum(len(piece) for piece in store.read('regrow-datasets', 'large'))\n"
            "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        environment = {
            "REGROW_DATA_DIR": str(settings.data_dir), "REGROW_MINIO_ENDPOINT": settings.minio_endpoint or "",
            "REGROW_MINIO_ACCESS_KEY": settings.minio_access_key, "PYTHONPATH": str(ROOT),
            "REGROW_MINIO_SECRET_KEY": settings.minio_secret_key.get_secret_value(),
            "REGROW_MINIO_BUCKET_PREFIX": settings.minio_bucket_prefix,
        }  # fmt: skip
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        size, grown_kib = map(int, ran.stdout.split())
        assert size == 200 * MIB
        assert grown_kib < 100 * 1024

    def test_a_reader_never_mixes_an_object_with_its_successor(self, store: MinioStore) -> None:
        store.put(DATASETS, "moving", b"o" * (2 * WINDOW_BYTES))
        stream = store.read(DATASETS, "moving")
        seen = next(stream)
        with store.open(DATASETS, "moving") as file:
            file.read(1)
            store.put(DATASETS, "moving", b"n" * (2 * WINDOW_BYTES))
            with pytest.raises(EngineUnavailable, match="was replaced"):
                seen += b"".join(stream)
            with pytest.raises(EngineUnavailable, match="was replaced"):
                file.read()
        assert set(seen) == set(b"o")
        assert store.get(DATASETS, "moving") == b"n" * (2 * WINDOW_BYTES)

    def test_a_stalled_reader_keeps_no_writer_waiting(self, store: MinioStore) -> None:
        store.put(DATASETS, "a", b"o" * (4 * WINDOW_BYTES))
        stream = store.read(DATASETS, "a")
        next(stream)
        begun = time.monotonic()
        store.put(DATASETS, "a", b"n")
        assert time.monotonic() - begun < 20  # MinIO's lock for an answer under way ends after 30 seconds


class TestAServerThatIsAway:
    """Calls wait for it, then say so with a time to come back; nothing torn is left."""

    def test_a_call_waits_for_a_server_that_starts_again(self, server: Server, tmp_path: Path) -> None:
        store = open_store(settings_for(tmp_path, f"http://{server.address}"))
        store.put(DATASETS, "a", b"before")
        server.kill()
        starting = threading.Timer(1.0, server.start)
        starting.start()
        assert store.get(DATASETS, "a") == b"before"
        store.check()
        starting.join()

    def test_a_server_that_stays_away_is_told_with_a_time_to_come_back(self, server: Server, tmp_path: Path) -> None:
        store = open_store(settings_for(tmp_path, f"http://{server.address}"))
        store.put(DATASETS, "a", b"before")
        server.kill()
        begun = time.monotonic()
        with pytest.raises(EngineUnavailable, match="objects can't be reached: the store doesn't answer") as told:
            store.check()
        assert server.address in told.value.message
        assert told.value.retry_after > timedelta(0)
        assert time.monotonic() - begun < 5  # readiness doesn't wait
        with pytest.raises(EngineUnavailable):
            store.put(DATASETS, "a", b"after")
        server.start()
        assert store.get(DATASETS, "a") == b"before"

    def test_a_store_opens_while_its_server_is_away_and_works_once_it_is_there(self, tmp_path: Path) -> None:
        later = minio_server(tmp_path)
        store = open_store(settings_for(tmp_path, f"http://{later.address}"))
        with pytest.raises(EngineUnavailable):
            store.check()
        with running(later):
            assert (
                store.put(DATASETS, "a", b"1").size == 1
            )  # which waits: a server that says it is ready may answer 503 a moment later
            store.check()

    def test_kills_amid_writes_lose_nothing_acknowledged_and_tear_nothing(self, server: Server, tmp_path: Path) -> None:
        store = open_store(settings_for(tmp_path, f"http://{server.address}"))
        acknowledged: dict[str, str] = {}
        done = threading.Event()

        def write(writer: int) -> None:
            for number in itertools.count():
                if done.is_set():
                    return
                size = (PART_BYTES + MIB) if number % 10 == 9 else 1000 + number
                with contextlib.suppress(EngineUnavailable):
                    info = store.put(DATASETS, f"{writer}/{number}", content_of(size + writer), if_absent=True)
                    acknowledged[info.key] = info.digest

        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in writers:
            thread.start()
        for _ in range(3):
            time.sleep(0.7)
            server.kill()
            server.start()
        done.set()
        for thread in writers:
            thread.join()
        listed = {info.key: info.digest for info in store.list(DATASETS)}
        assert acknowledged and acknowledged.items() <= listed.items()
        for key, digest in listed.items():
            assert f"sha256:{hashlib.sha256(store.get(DATASETS, key)).hexdigest()}" == digest

    def test_a_lost_bucket_is_told_and_not_taken_for_an_empty_store(
        self, store: MinioStore, settings: CommonSettings, client: Client
    ) -> None:
        store.put(DATASETS, "a", b"1")
        store.delete(DATASETS, "a")
        client.remove_bucket(f"{settings.minio_bucket_prefix}{DATASETS}")
        calls = [
            lambda: store.get(DATASETS, "a"),
            lambda: store.list(DATASETS),
            lambda: store.exists(DATASETS, "a"),
            lambda: store.put(DATASETS, "a", b""),
            lambda: store.delete(DATASETS, "a"),
            store.check,
        ]
        for call in calls:
            with pytest.raises(EngineUnavailable, match="bucket"):
                call()


class LosesAnswers(threading.Thread):
    """A proxy that passes requests on and, `times` times, cuts the connection instead of handing an answer to a write back."""

    def __init__(self, server: str, times: int) -> None:
        super().__init__(daemon=True)
        host, _, port = server.rpartition(":")
        self._server, self._left = (host, int(port)), times
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lost: list[bytes] = []

    def run(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, caller: socket.socket) -> None:
        with caller, socket.create_connection(self._server) as server:
            asked = [b""]

            def forward() -> None:
                with contextlib.suppress(OSError):
                    while content := caller.recv(1 << 16):
                        asked[0] = content if content.startswith((b"PUT", b"POST", b"GET", b"HEAD")) else asked[0]
                        server.sendall(content)
                    server.shutdown(socket.SHUT_WR)

            threading.Thread(target=forward, daemon=True).start()
            with contextlib.suppress(OSError):
                while content := server.recv(1 << 16):
                    if self._left and b"If-None-Match" in asked[0] and content.startswith(b"HTTP/1.1 200"):
                        self._left -= 1
                        self.lost.append(asked[0].split(b"\r\n")[0])
                        return caller.shutdown(socket.SHUT_RDWR)
                    caller.sendall(content)


@pytest.mark.parametrize("size", [10, PART_BYTES + MIB], ids=["whole", "in parts"])
def test_a_writer_whose_answer_was_lost_learns_that_it_won(minio: Minio, tmp_path: Path, size: int) -> None:
    proxy = LosesAnswers(minio.endpoint.removeprefix("http://"), times=1)
    proxy.start()
    try:
        store = open_store(settings_for(tmp_path, proxy.endpoint))
        content = content_of(size)
        assert store.put(MODELS, "a", content, if_absent=True).size == size
        assert len(proxy.lost) == 1
        with pytest.raises(AlreadyExists):
            store.put(MODELS, "a", content, if_absent=True)
        assert store.get(MODELS, "a") == content
    finally:
        proxy.close()


def test_a_wrong_key_is_told_at_the_start_with_the_settings_to_look_at(minio: Minio, tmp_path: Path) -> None:
    for wrong in ({"minio_secret_key": "wrong-secret"}, {"minio_access_key": "nobody"}):
        with pytest.raises(FailedPrecondition, match=r"refuses the key.*REGROW_MINIO_ACCESS_KEY") as told:
            objects_from(settings_for(tmp_path, minio.endpoint, **wrong))
        assert told.value.reason == "OBJECTS_REFUSED"


def test_a_bucket_that_is_missing_and_may_not_be_made_is_told_by_name(minio: Minio, client: Client, tmp_path: Path) -> None:
    """The key of a careful operator: all rights in the two buckets, and none to make them."""
    prefix, address = next(prefixes), minio.endpoint.removeprefix("http://")
    owner = StaticProvider(minio.access_key, minio.secret_key)
    admin = MinioAdmin(endpoint=address, secure=False, credentials=owner)
    here = [f"arn:aws:s3:::{prefix}*"]
    rights = [
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": here},
        {"Effect": "Deny", "Action": ["s3:CreateBucket"], "Resource": here},
    ]
    admin.policy_add(f"{prefix}policy", policy={"Version": "2012-10-17", "Statement": rights})
    admin.user_add(f"{prefix}user", "careful-secret")
    admin.policy_set(f"{prefix}policy", user=f"{prefix}user")
    settings = settings_for(
        tmp_path,
        minio.endpoint,
        minio_access_key=f"{prefix}user",
        minio_secret_key="careful-secret",
        minio_bucket_prefix=prefix,
    )
    with pytest.raises(
        FailedPrecondition, match=rf"'{prefix}regrow-datasets' isn't there.*allow the key s3:CreateBucket"
    ) as told:
        objects_from(settings)
    assert told.value.reason == "OBJECTS_REFUSED"
    for bucket in (DATASETS, MODELS):
        client.make_bucket(prefix + bucket)
    store = objects_from(settings)
    store.check()
    store.put(MODELS, "a", b"1")
    assert store.get(MODELS, "a") == b"1"


def test_something_that_is_no_store_is_told(tmp_path: Path) -> None:
    port = free_port()
    page = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    process = subprocess.Popen(page, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.05)
        store = open_store(settings_for(tmp_path / "data", f"http://127.0.0.1:{port}"))
        with pytest.raises(EngineUnavailable, match=r"no S3|the store answers"):
            store.check()
    finally:
        process.kill()
        process.wait()


def test_two_prefixes_share_a_server_and_see_nothing_of_each_other(minio: Minio, tmp_path: Path) -> None:
    one, other = (open_store(settings_for(tmp_path, minio.endpoint)) for _ in range(2))
    one.put(DATASETS, "a", b"1")
    assert list(other.list(DATASETS)) == []
    with pytest.raises(NotFound):
        other.get(DATASETS, "a")


def test_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with running(minio_server(tmp_path, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")) as server:
        endpoint, content = f"https://{server.address}", content_of(PART_BYTES + MIB)
        store = open_store(settings_for(tmp_path, endpoint, minio_ca_file=tmp_path / "ca.pem"))
        store.put(DATASETS, "a", io.BytesIO(content), if_absent=True)
        assert store.get(DATASETS, "a") == content
        store.check()
        with pytest.raises(EngineUnavailable, match=r"isn't trusted.*REGROW_MINIO_CA_FILE"):
            open_store(settings_for(tmp_path, endpoint)).check()


def test_an_object_that_somebody_else_wrote_is_never_handed_out_as_ours(
    store: MinioStore, settings: CommonSettings, client: Client
) -> None:
    bucket = f"{settings.minio_bucket_prefix}{DATASETS}"
    store.put(DATASETS, "ours", b"1")
    client.put_object(bucket, "theirs", io.BytesIO(b"x"), 1)
    client.put_object(bucket, "ours!", io.BytesIO(b"overwritten"), 11)
    assert [info.key for info in store.list(DATASETS)] == ["ours"]
    with pytest.raises(DigestMismatch, match="regrow-datasets/ours"):
        store.get(DATASETS, "ours")


def test_a_signed_link_hands_out_the_object_under_its_name_until_it_expires(settings: CommonSettings) -> None:
    store = open_store(settings.model_copy(update={"minio_public_endpoint": settings.minio_endpoint}))
    store.put(MODELS, "sha256/ab", b"content")
    link = store.presigned(MODELS, "sha256/ab", expires=timedelta(seconds=2), file_name="manifest.json")
    assert link is not None and settings.minio_secret_key.get_secret_value() not in link
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"content"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="manifest.json"'
    time.sleep(2.5)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link, timeout=10)
    with pytest.raises(NotFound):
        store.presigned(MODELS, "sha256/no", expires=timedelta(seconds=2), file_name="x")


def test_without_a_public_address_there_is_no_link(store: MinioStore) -> None:
    store.put(MODELS, "a", b"1")
    assert store.presigned(MODELS, "a", expires=timedelta(seconds=2), file_name="a") is None


def test_a_store_that_answers_but_is_not_ready_is_told_as_that() -> None:
    with pytest.raises(EngineUnavailable, match="answers 503; it may be starting"), s3_errors():
        raise ServerError("server failed with HTTP status code 503", 503)
