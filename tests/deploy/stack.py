"""The services of compose.yaml, started with exactly its commands and environments, on real Kafka, MinIO and PostgreSQL.

What an engine would do is done here: names of hosts become ports of loopback, mounts become folders. Nothing else reaches the
processes: no variable of this machine but PATH, and an empty working directory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from compose_file import DEPLOY, OURS
from otlp_collector import Collector, collector
from real_engines import kafka_server, minio_server, postgres_server, running

from regrow.local import certificates
from regrow.local.ports import free_ports
from regrow.local.supervisor import KEY

ROOT = Path(__file__).parents[2]
SECONDS = 90.0


@dataclass(slots=True, kw_only=True)
class Stack:
    """What the file describes, running. `hosts` maps what the file writes to what this machine has."""

    folder: Path
    services: Mapping[str, Any]
    hosts: dict[str, str]
    metrics: dict[str, int]
    spans: Collector
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, in this machine's terms."""
        own = {variable: self.here(str(value), name) for variable, value in self.services[name]["environment"].items()}
        own["REGROW_METRICS_PORT"] = str(self.metrics[name])
        own["REGROW_OTLP_ENDPOINT"] = self.spans.endpoint  # what an operator writes into .env
        return {**own, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "home")}

    def here(self, text: str, name: str) -> str:
        for there, here in self.mounts(name).items():
            if text.startswith(there):
                return f"{here}/{text.removeprefix(there)}"
        if text == "/data":
            return str(self.folder / name)
        for there, here in self.hosts.items():
            text = text.replace(there, here)
        return "127.0.0.1" if text == "0.0.0.0" else text

    def mounts(self, name: str) -> dict[str, Path]:
        return {
            "/run/secrets/": self.folder / "secrets",
            "/certs/": self.certificates / name,
            "/public-certs/": self.certificates / "public",
        }

    def command(self, words: list[str], name: str) -> list[str]:
        return [sys.executable if word == "python" else self.here(word, name) for word in words]

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(self.services[name]["command"], name), env=self.environment(name), cwd=self.folder / "empty",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """By the health check of the file."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = subprocess.run(
            self.command(words, name), env=self.environment(name), cwd=self.folder / "empty", capture_output=True, check=False
        )
        return check.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @property
    def certificates(self) -> Path:
        return self.folder / "deploy" / "certs"

    @property
    def key(self) -> str:
        """The first admin key, from where the operator finds it."""
        found = KEY.search(self.log("gateway"))
        assert found
        return found.group()

    def wait(self, done: Callable[[], bool]) -> None:
        """Fails with the end of the logs where it isn't done in time, or a service has ended."""
        deadline = time.monotonic() + SECONDS
        while not done():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                pytest.fail("\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in dead or OURS))
            time.sleep(0.2)


@contextmanager
def started(folder: Path, services: Mapping[str, Any]) -> Iterator[Stack]:
    """All of ours, healthy by the file's own checks, on real engines of their own. Certificates are those of `regrow certs`."""
    with ExitStack() as engines:
        servers = {}
        for name, make in _engines(services).items():
            place = engines.enter_context(TemporaryDirectory(prefix=f"regrow-{name}-", ignore_cleanup_errors=True))
            servers[name] = engines.enter_context(running(make(Path(place))))
        ports = iter(free_ports(9))
        hosts = {"kafka:9092": servers["kafka"].address, "minio:9000": servers["minio"].address}
        hosts["postgres:5432"] = servers["postgres"].address
        for service, port in (("labeling", 7071), ("training", 7072), ("registry", 7073), ("gateway", 8080), ("gateway", 8081)):
            here = f"127.0.0.1:{next(ports)}"
            hosts |= {f"{host}:{port}": here for host in (service, "0.0.0.0", "127.0.0.1")}
        spans = engines.enter_context(collector())
        made = Stack(folder=folder, services=services, hosts=hosts, metrics={name: next(ports) for name in OURS}, spans=spans)
        for part in ("secrets", "empty", "home", *OURS):
            (folder / part).mkdir()
        _make_secrets(made)
        _make_databases(servers["postgres"].address, services["postgres"]["environment"])
        certificates.make(made.certificates)
        try:
            for name in OURS:
                made.start(name)
            made.wait(lambda: all(made.is_healthy(name) for name in OURS))
            yield made
        finally:
            for process in made.processes.values():
                process.terminate()
            for process in made.processes.values():
                process.wait(60)


def _engines(services: Mapping[str, Any]) -> Mapping[str, Callable[[Path], Any]]:
    """With the broker settings of the file that aren't about listeners and replicas."""
    kept = ("KAFKA_MESSAGE_MAX_BYTES", "KAFKA_AUTO_CREATE_TOPICS_ENABLE")
    told = services["kafka"]["environment"]
    extra = "\n".join(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={told[name]}" for name in kept)
    return {"kafka": lambda folder: kafka_server(folder, extra), "minio": minio_server, "postgres": postgres_server}


def _make_secrets(stack: Stack) -> None:
    """As the operator does; MinIO's is the one that the test's server has, PostgreSQL's host is written in its URLs."""
    folder = stack.folder / "secrets"
    (folder / "minio_secret_key").write_text("regrow-secret")
    subprocess.run([sys.executable, str(DEPLOY / "make_secrets.py"), str(folder)], check=True, capture_output=True)
    for path in folder.glob("*_database_url"):
        path.write_text(stack.here(path.read_text(), ""))


def _make_databases(address: str, told: Mapping[str, str]) -> None:
    """The script that the file mounts for PostgreSQL's first start, run by the user that it names."""
    host, _, port = address.partition(":")
    with psycopg.connect(host=host, port=int(port), user="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {told['POSTGRES_USER']} LOGIN CREATEDB")
        admin.execute(f"CREATE DATABASE {told['POSTGRES_DB']} OWNER {told['POSTGRES_USER']}")
    with psycopg.connect(
        host=host, port=int(port), user=told["POSTGRES_USER"], dbname=told["POSTGRES_DB"], autocommit=True
    ) as user:
        for statement in re.findall(r"^[A-Z][^;]*;", (DEPLOY / "postgres" / "databases.sql").read_text(), re.MULTILINE):
            user.execute(statement)
