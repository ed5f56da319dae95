"""A gateway in a few lines: a real gRPC server whose answers a test writes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, symbol_database
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

import regrow.client  # noqa: F401  registers every proto
from regrow.cli import main
from regrow.credentials import Credentials, store_credentials

Answer = Callable[[Any], Any]


class Refusal(Exception):
    """Makes the gateway refuse the call, as Regrow does: a status with details."""

    def __init__(
        self, code: grpc.StatusCode, message: str, *, reason: str = "", fields: dict[str, str] | None = None, retry: float = 0.0
    ) -> None:
        super().__init__(message)
        details = [error_details_pb2.ErrorInfo(reason=reason, domain="regrow.dev", metadata={"kind": "test"})] if reason else []
        if fields:
            violations = [error_details_pb2.BadRequest.FieldViolation(field=f, description=p) for f, p in fields.items()]
            details.append(error_details_pb2.BadRequest(field_violations=violations))
        if retry:
            details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=int(retry), nanos=int(retry % 1 * 1e9))))
        packed = []
        for detail in details:
            packed.append(any_pb2.Any())
            packed[-1].Pack(detail)
        self.status = status_pb2.Status(code=code.value[0], message=message, details=packed)


class Scripted(grpc.GenericRpcHandler):
    """Answers each method with what a test gave it; keeps requests and metadata."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.seconds: list[float] = []
        self.address = ""

    def on(self, method: str, answer: Answer) -> None:
        self.answers[method] = answer

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        service, _, method = details.method.removeprefix("/").partition("/")
        if method not in self.answers:
            return None
        descriptor = symbol_database.Default().pool.FindServiceByName(service).methods_by_name[method]
        request = symbol_database.Default().GetSymbol(descriptor.input_type.full_name)
        kind = ("stream" if descriptor.client_streaming else "unary") + ("_stream" if descriptor.server_streaming else "_unary")
        handler = self._streaming if descriptor.server_streaming else self._one
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            lambda call, context: handler(method, call, context),
            request.FromString,
            lambda message: message.SerializeToString(),
        )

    def _note(self, call: Any, context: Any) -> Any:
        received = list(call) if hasattr(call, "__next__") else call
        self.requests.append(received)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        self.seconds.append(context.time_remaining())
        return received

    def _one(self, method: str, call: Any, context: Any) -> Any:
        received = self._note(call, context)
        try:
            return self.answers[method](received)
        except Refusal as refusal:
            context.abort_with_status(rpc_status.to_status(refusal.status))

    def _streaming(self, method: str, call: Any, context: Any) -> Iterator[Any]:
        received = self._note(call, context)
        try:
            yield from self.answers[method](received)
        except Refusal as refusal:
            context.abort_with_status(rpc_status.to_status(refusal.status))


@pytest.fixture(autouse=True)
def _own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the credentials of the person who runs it."""
    monkeypatch.setenv("REGROW_CREDENTIALS", str(tmp_path / "credentials.json"))
    for name in ("REGROW_GRPC", "REGROW_URL", "REGROW_KEY", "REGROW_PROJECT", "REGROW_DATA_DIR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def scripted_gateway() -> Iterator[Scripted]:
    scripted = Scripted()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[scripted])
    scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield scripted
    server.stop(0).wait()


@pytest.fixture
def gateway() -> Iterator[Scripted]:
    with scripted_gateway() as scripted:
        yield scripted


@pytest.fixture
def other() -> Iterator[Scripted]:
    """A second one."""
    with scripted_gateway() as scripted:
        yield scripted


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; answers its exit code, stdout and stderr."""

    def one(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(list(words))
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return one


@pytest.fixture
def run(
    gateway: Scripted, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The same, logged in to the gateway, and soon out of patience."""
    store_credentials(Credentials(grpc_address=gateway.address, key="rg_secret"))
    monkeypatch.setattr("regrow.cli.options.PATIENCE", 0.5)
    return command


@pytest.fixture
def refusal() -> type[Refusal]:
    return Refusal
