"""`regrow up`: the whole of Regrow on this machine, with a data folder.

Everything that is kept is in the data folder: databases, event log, objects, logs, and the secret that the services share.
A folder belongs to one supervisor at a time: the lock file says so, and goes with its process however that ends.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from regrow.credentials import Credentials, credentials_of, reachable
from regrow.local import processes
from regrow.local.ports import free_ports, problem_of
from regrow.local.supervisor import (
    CERTIFICATES,
    KEY,
    SERVICES,
    WRONG_SETTINGS,
    Child,
    Supervisor,
    command_for,
    end_leftovers,
    read_state,
)

try:
    import fcntl
except ImportError:  # Windows: the client and its commands work there, the launcher doesn't
    fcntl = None  # type: ignore[assignment]

PORTS = {
    "REGROW_GATEWAY_HTTP_ADDRESS": 8080,
    "REGROW_GATEWAY_GRPC_ADDRESS": 8081,
    "REGROW_LABELING_ADDRESS": 7071,
    "REGROW_TRAINING_ADDRESS": 7072,
    "REGROW_REGISTRY_ADDRESS": 7073,
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "REGROW_DRAIN_SECONDS": "5"}
HOPELESS_DEATHS, HOPELESS_REFUSALS = 4, 2
_MOST_END_BYTES = 64 << 10
SILENCE = 10.0
"""Seconds after which a start says what it waits for."""
NOT_READY = "Not ready yet: "
"""What such a line begins with."""
_CURE = "Try again in a moment."
"""What an error of a service ends with, which is for callers."""


class LaunchError(Exception):
    """Regrow can't be started here; the message says why and what to do."""


@dataclass(slots=True)
class Local:
    """A running Regrow on this machine. Use it in a `with` block, or call `start` and `stop`.

    `free_ports` picks ports that nothing listens on, instead of the usual ones. `tell` gets lines for a person; it is called
    from the supervisor's thread too. `tls` makes certificates in `{data}/certs` and uses them everywhere. `admin_key` is the
    first admin key, where this start made it, else empty. `on_ready` is called
    once all answer, before `{data}/up.json` says so.
    """

    data: Path = Path(".regrow")
    free_ports: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = print
    tls: bool = False
    command: Callable[[str], Sequence[str]] = command_for
    on_ready: Callable[[Local], None] = lambda _: None
    admin_key: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    supervisor: Supervisor | None = None
    _thread: threading.Thread | None = None
    _lock: IO[str] | None = None
    _key_seen: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where REST answers."""
        return f"{'https' if self._door else 'http'}://{reachable(self.environment['REGROW_GATEWAY_HTTP_ADDRESS'])}"

    @property
    def grpc_address(self) -> str:
        """Where gRPC answers: `host:port`, with `https://` before it where that is over TLS."""
        return f"{'https://' if self._door else ''}{reachable(self.environment['REGROW_GATEWAY_GRPC_ADDRESS'])}"

    @property
    def _door(self) -> str:
        """The file of the certificate that the gateway shows to the public."""
        return self.environment.get("REGROW_GATEWAY_CERT_FILE", "")

    def credentials(self, key: str) -> Credentials:
        """How to reach it with a key."""
        ca_file = self.environment.get("REGROW_CA_FILE", "")
        return Credentials(url=self.url, grpc_address=self.grpc_address, key=key, ca_file=ca_file)

    def start(self, *, ready_within: float = 90.0) -> Local:
        """Starts the services and waits until all answer. Raises `LaunchError`, and then nothing is left running."""
        check_installed()
        self.data = self.data.absolute()
        self._take_folder()
        try:
            for service in end_leftovers(self.data):
                self.tell(f"Ended {service}, which an earlier start left running.")
            given = {**ENVIRONMENT, **{name: os.environ[name] for name in ENVIRONMENT if name in os.environ}}
            self.environment = {
                **given, **self._certificates(), **self.settings, **self._addresses(), "REGROW_DATA_DIR": str(self.data)
            }  # fmt: skip
            self._run_services()
            self._wait_until_ready(ready_within)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the services in order and gives the data folder back."""
        if self.supervisor is not None:
            self.supervisor.stop()
            if self._thread is not None:
                self._thread.join()
            else:
                self.supervisor.end_all()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Local:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run_services(self) -> None:
        self.supervisor = Supervisor(
            data=self.data, environment=self.environment, tell=self.tell, on_admin_key=self._keep_key, command=self.command
        )
        self.supervisor.start()
        self._thread = threading.Thread(target=self.supervisor.run, name="supervisor", daemon=True)
        self._thread.start()

    def _wait_until_ready(self, seconds: float) -> None:
        deadline, problem = time.monotonic() + seconds, "nothing answers yet"
        tell_at, told = time.monotonic() + SILENCE, ""
        while time.monotonic() < deadline:
            self._check_hope()
            answered = not_ready(self.url, self._door)
            if not answered:
                return self._write_ready()
            problem = self._told() or answered
            if time.monotonic() > tell_at and problem != told:
                self.tell(f"{NOT_READY}{problem}")
                told = problem
            time.sleep(0.1)
        logs = self.data / "logs"
        raise LaunchError(f"Regrow did not become ready in {seconds:.0f} s. The logs are in {logs}. What it lacks: {problem}")

    def _told(self) -> str:
        """What services that don't get as far as to serve wrote last, each sentence once."""
        assert self.supervisor is not None
        told = {_problem_in(self.supervisor.log_of(name), child) for name, child in self.supervisor.children.items()}
        return " ".join(sorted(told - {""}))

    def _check_hope(self) -> None:
        """A service that dies again and again while it starts won't come up by itself."""
        assert self.supervisor is not None
        for service in SERVICES:
            child, log = self.supervisor.children[service], self.supervisor.log_of(service)
            if child.exit_code == WRONG_SETTINGS and child.quick_deaths >= HOPELESS_REFUSALS:
                raise LaunchError(f"{service} does not start: {_last_line(log)}")
            if child.quick_deaths >= HOPELESS_DEATHS:
                raise LaunchError(f"{service} does not start. The end of {log}:\n{_end_of(log)}")

    def _write_ready(self) -> None:
        assert self.supervisor is not None
        self._key_seen.wait(0.5)  # the gateway prints the first key right after it begins to answer
        self.on_ready(self)
        self.supervisor.ready = True
        self.supervisor.write_state()

    def _take_folder(self) -> None:
        make_folder(self.data)
        self._lock = (self.data / "lock").open("w")
        if not _lock(self._lock):
            self._lock.close()
            raise _taken(self.data)

    def _addresses(self) -> dict[str, str]:
        free = free_ports(len(PORTS)) if self.free_ports else list(PORTS.values())
        addresses = {}
        for (name, _), port in zip(PORTS.items(), free, strict=True):
            named = self.settings.get(name) or ("" if self.free_ports else os.environ.get(name))
            addresses[name] = named or f"127.0.0.1:{port}"
            self._check_address(name, addresses)
        return addresses

    def _certificates(self) -> dict[str, str]:
        """The variables that name certificates: those that are made here, else those of the environment."""
        if not self.tls:
            return {name: value for name, value in os.environ.items() if name.startswith("REGROW_") and _is_certificate(name)}
        from regrow.local import certificates  # here: a client alone has no `cryptography`

        return certificates.environment(certificates.make(self.data / "certs"))

    def _check_address(self, name: str, addresses: Mapping[str, str]) -> None:
        address = addresses[name]
        try:
            problem = problem_of(address)
        except ValueError as error:
            raise LaunchError(f"{name}: {error}") from None
        twin = next((other for other, taken in addresses.items() if other != name and taken == address), None)
        if twin:
            raise LaunchError(f"{name} and {twin} are both {address}. Give each a port of its own.")
        if problem:
            raise LaunchError(f"{problem} End that process, set {name}=127.0.0.1:<port>, or let Regrow pick with --free-ports.")

    def _keep_key(self, key: str) -> None:
        self.admin_key = key
        self._key_seen.set()


def check_installed() -> None:
    """Raises `LaunchError` where only the client is installed, or on a system that has no file locks."""
    if fcntl is None:
        raise LaunchError(
            "The services run on Linux and macOS. On Windows, start them in WSL or a container, then `regrow login`."
        )
    try:
        missing = [s for s in SERVICES if importlib.util.find_spec(f"services.{s}") is None]
    except ModuleNotFoundError:
        missing = list(SERVICES)
    if missing:
        raise LaunchError(f"Not installed here: {', '.join(missing)}. Install all of Regrow with: pip install 'regrow[all]'")


def make_folder(data: Path) -> None:
    """Makes the data folder with its folder of logs. Raises `LaunchError` where it can't be one."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "logs").mkdir(exist_ok=True)
        (data / "lock").touch()
    except OSError as error:
        raise LaunchError(f"{data} can't be the data folder: {error.strerror}. Name another with --data.") from None


def refuse_unfit(data: Path) -> None:
    """Raises `LaunchError` for a folder that can't be used or is in use, before anything in it is touched."""
    make_folder(data)
    if is_running(data):
        raise _taken(data)


def _taken(data: Path) -> LaunchError:
    state = read_state(data)
    where = f" It answers at {credentials_of(state, '').url}." if state.get("http") else ""
    return LaunchError(
        f"Another Regrow runs on {data}.{where} Stop it with `regrow down --data {data}`, or name another folder with --data."
    )


def not_ready(url: str, certificate: str = "") -> str:
    """What a gateway lacks, in words; empty where it and every service behind it are ready.

    `certificate` is the file of the one that it shows: that one is believed here, whatever host it is for.
    """
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5, context=_pinned(certificate)) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as refusal:
        body = _json_of(refusal.read())
    except (OSError, ValueError) as error:
        return f"the gateway doesn't answer yet ({getattr(error, 'reason', error)})"
    missing = [f"{one.get('name')}: {one.get('problem')}" for one in body.get("missing", [])]
    return "; ".join(missing) or ("" if body.get("ready") else "the gateway is not ready")


def is_running(data: Path) -> bool:
    """Whether a supervisor holds the folder."""
    try:
        with (data / "lock").open("r+") as file:
            return not _lock(file)
    except OSError:
        return False


def end(data: Path, *, within: float = 60.0) -> bool:
    """`regrow down`: ends what runs on a data folder, whether its supervisor lives or not. False where nothing ran."""
    supervisor = read_state(data).get("supervisor", {})
    if not is_running(data):
        return bool(end_leftovers(data))
    if processes.is_alive(supervisor):
        os.kill(supervisor["pid"], signal.SIGTERM)
    deadline = time.monotonic() + within
    while is_running(data) and time.monotonic() < deadline:
        time.sleep(0.1)
    if is_running(data):
        raise LaunchError(f"The supervisor of {data} did not end in {within:.0f} s. Its process is {supervisor.get('pid')}.")
    end_leftovers(data)
    return True


def reset_key(data: Path) -> str:
    """A new admin key for a data folder on this machine, running or not. Raises `LaunchError`."""
    check_installed()
    if not data.is_dir():
        raise LaunchError(f"There is no data folder {data}. Name the one that Regrow runs on with --data.")
    command = [*command_for("gateway"), "keys", "reset"]
    environment = {**os.environ, "REGROW_DATA_DIR": str(data.absolute())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    found = KEY.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise LaunchError(f"No key could be made: {done.stderr.strip()[-1000:] or 'the gateway said nothing'}")
    return found.group()


def _lock(file: IO[str]) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _pinned(certificate: str) -> ssl.SSLContext | None:
    if not certificate:
        return None
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_certificate(name: str) -> bool:
    return name.endswith(CERTIFICATES) and "KAFKA" not in name and "MINIO" not in name


def _json_of(raw: bytes) -> dict[str, object]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _problem_in(log: Path, child: Child) -> str:
    """What a service waits for, as it logs it, or why it died, which is told in plain words; empty where neither is so."""
    line = _last_line(log)
    told = _json_of(line.encode())
    said = str(told.get("problem", "")) if told else line if child.quick_deaths else ""
    return said.removesuffix(_CURE).rstrip()


def _last_line(log: Path) -> str:
    return _end_of(log, lines=1)


def _end_of(log: Path, lines: int = 8) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _MOST_END_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
