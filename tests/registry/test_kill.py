"""`python -m services.registry` under kill -9 at random moments: what was answered stays, and others are told of all of it."""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from regrow.events.v1 import events_pb2
from regrow.registry.v1 import registry_pb2 as pb
from regrow.registry.v1 import registry_pb2_grpc as rpc
from services.common.errors import EtagMismatch, Unavailable
from services.common.events import REGISTRY, SqliteLog
from services.common.objects import MODELS, DirectoryStore
from services.common.rpc.client import internal_channel

ROOT = Path(__file__).parents[2]
TOKEN = "token-of-this-test"
MODEL = "projects/default/models/tone"
KILLS = 6


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def restarted(tmp_path: Path, address: str) -> Iterator[threading.Event]:
    """A registry that is killed at seeded random moments and started again, until the event is set after all kills."""
    done, chance = threading.Event(), random.Random(20)
    settings = {"REGROW_DATA_DIR": str(tmp_path), "REGROW_REGISTRY_ADDRESS": address, "REGROW_INTERNAL_TOKEN": TOKEN}

    def start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "REGROW_LOG_LEVEL": "ERROR"}
        return subprocess.Popen([sys.executable, "-m", "services.registry"], env=environment)

    def kill_again_and_again() -> None:
        process = start()
        for _ in range(KILLS):
            time.sleep(1.5 + chance.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start()
        done.set()
        stop.wait()
        process.terminate()
        process.wait(timeout=30)

    stop = threading.Event()
    killer = threading.Thread(target=kill_again_and_again)
    killer.start()
    yield done
    stop.set()
    killer.join()


def put(store: DirectoryStore, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    store.put(MODELS, f"sha256/{digest}", content)
    return f"sha256:{digest}"


def insist(call: object, request: object) -> object:
    """Sends the same call until it is answered, as a workflow does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call(request, timeout=5)  # type: ignore[operator]
        except Unavailable:
            assert time.monotonic() < deadline, "the registry does not come back"
            time.sleep(0.05)


@pytest.mark.slow
def test_kills_lose_nothing_repeat_nothing_and_leave_no_gap(restarted: threading.Event, address: str, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "objects")
    digest = put(store, json.dumps({"format": 1, "parts": []}).encode())
    channel = internal_channel(address, token=TOKEN, service="registry")
    versions, aliases = rpc.VersionServiceStub(channel), rpc.AliasServiceStub(channel)
    create = pb.CreateModelRequest(parent="projects/default", model_id="tone", request_id="model")
    insist(rpc.ModelServiceStub(channel).CreateModel, create)
    etag, made = "", 0
    while not restarted.is_set():
        request = pb.CreateVersionRequest(parent=MODEL, version=pb.Version(bundle_digest=digest), request_id=f"r-{made}")
        version = insist(versions.CreateVersion, request)
        made += 1
        assert version.number == made, "one call is one version, however often it was sent"  # type: ignore[attr-defined]
        move = pb.SetAliasRequest(name=f"{MODEL}/aliases/champion", version=f"{MODEL}/versions/{made}", etag=etag)
        try:
            etag = insist(aliases.SetAlias, move).etag  # type: ignore[attr-defined]
        except EtagMismatch:
            pytest.fail("nobody else moves it, and a repeated call is no second move")
    channel.close()

    log = SqliteLog(tmp_path / "events.db")
    consumer, told = log.consumer([REGISTRY]), list[events_pb2.RegistryChange]()
    deadline = time.monotonic() + 10
    while (not told or told[-1].sequence < 2 + 2 * made) and time.monotonic() < deadline:
        told += [events_pb2.RegistryChange.FromString(r.value) for r in consumer.poll(timeout=timedelta(milliseconds=100))]
    consumer.close()
    log.close()
    seen: dict[int, events_pb2.RegistryChange] = {}
    for change in told:
        seen.setdefault(change.sequence, change)
    first = list(seen.values())
    assert [change.sequence for change in first] == list(range(1, 2 + 2 * made + 1))
    assert [change.version for change in first if change.change == "version.created"] == list(range(1, made + 1))
    assert [change.version for change in first if change.change == "alias.moved"] == list(range(1, made + 1))
    assert made > KILLS
