"""Settings that all services share, read once at start from the environment.

A service derives its own class and says its prefix; its fields are then read from `REGROW_<SERVICE>_*`, and the common ones
from `REGROW_*`. A common field can be set for one service alone: `REGROW_LABELING_METRICS_PORT` wins over
`REGROW_METRICS_PORT` in labeling.

    class LabelingSettings(CommonSettings):
        model_config = SettingsConfigDict(env_prefix="REGROW_LABELING_")

        workers: int = 16
        \"\"\"How many calls run at once.\"\"\"

    settings = load(LabelingSettings)      # --print-config prints it, secrets masked, and ends

A variable with `_FILE` behind its name (`REGROW_INTERNAL_TOKEN_FILE`) names a file that holds the value: that is how secrets
reach a container without being in its environment.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from services.common.errors import FailedPrecondition, FieldProblem, InvalidField, InvalidFields, RegrowError, Unavailable

COMMON_PREFIX = "REGROW_"
WRONG_SETTINGS = 78
"""The exit code of a process that starting again won't help: EX_CONFIG of BSD's sysexits.h."""

_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*):\S+@")


def _http_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+", value):
        raise ValueError(f"'{value}' is no address of a server. Write 'https://host:port', with nothing behind the port.")
    return value


def _address(value: str) -> str:
    found = re.fullmatch(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]*):([0-9]{1,5})", value)
    if found is None or int(found[1]) > 65535:
        raise ValueError(f"'{value}' is no address. Write 'host:port', such as '127.0.0.1:8080'.")
    return value


def _database_url(value: str) -> str:
    try:
        kind = make_url(value.replace("postgres://", "postgresql://", 1)).get_backend_name()
    except ArgumentError:
        raise ValueError(f"It is no address of a database. {_DATABASES}") from None
    if kind not in ("postgresql", "sqlite"):
        raise ValueError(f"'{kind}' is no database that Regrow keeps its tables in. {_DATABASES}")
    return value


_DATABASES = (
    "Write 'postgresql://user:password@host/name'; REGROW_<SERVICE>_DATABASE_URL may also name a file of that service alone,"
    " 'sqlite:///path'."
)
Address = Annotated[str, AfterValidator(_address)]
HttpAddress = Annotated[str, AfterValidator(_http_address)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
SettingsT = TypeVar("SettingsT", bound="CommonSettings")


class CommonSettings(BaseSettings):
    """What every service reads. Wrong values are told all at once by `load`."""

    model_config = SettingsConfigDict(env_prefix=COMMON_PREFIX, extra="ignore", use_attribute_docstrings=True, frozen=True)

    data_dir: Path = Path(".regrow")
    """Folder of the embedded engines: objects, events, databases."""

    internal_token: SecretStr = Field(default_factory=lambda known: SecretStr(shared_token(known["data_dir"])))
    """Secret that gateway and services share; calls without it are refused. Unset: one is made and kept in the data folder."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe log line that is written."""

    log_json: bool = Field(default_factory=lambda: not sys.stderr.isatty())
    """JSON lines (default where stderr is no terminal), or lines for the eye."""

    metrics_host: str = "127.0.0.1"
    """Interface of the Prometheus port."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the Prometheus metrics over HTTP; 0 is off. Processes on one machine need one each."""

    database_url: DatabaseUrl | None = None
    """`postgresql://user:password@host/name`: there each service makes a schema of its name. `REGROW_<SERVICE>_DATABASE_URL`
    names a database that is one service's alone, `sqlite:///path` too. Unset: `<data_dir>/<service>.db`."""

    otlp_endpoint: str = Field(default="", pattern=r"^(https?://[^/\s]+)?$")
    """OTLP/gRPC address of an OpenTelemetry collector, such as `http://collector:4317`. Empty: no traces."""

    trace_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The share of requests that is traced; one that comes with a `traceparent` is traced if its caller does."""

    minio_endpoint: HttpAddress | None = None
    """Where MinIO, or another store that speaks S3, answers: `https://host:port`. Unset: objects are in the data folder."""

    minio_access_key: str = ""
    """Who we are there. The key may list, read, write and delete in the two buckets, and make them where they aren't."""

    minio_secret_key: SecretStr = SecretStr("")
    """The secret of `minio_access_key`."""

    minio_region: str = Field(default="us-east-1", min_length=1)
    """The region that its operator gave it."""

    minio_ca_file: FilePath | None = None
    """Certificates (PEM) to trust there, instead of the usual ones."""

    minio_bucket_prefix: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,40})?$")
    """Goes before the names of the buckets, `regrow-datasets` and `regrow-models`: several Regrows may share a server."""

    minio_public_endpoint: HttpAddress | None = None
    """Where callers of the API reach it. Set: they may ask for a link to a large file instead of its bytes."""

    kafka_bootstrap: str = ""
    """`host:port`, or several with commas, of the Kafka that holds the event log. Empty: a SQLite file in the data folder."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How Kafka's listener speaks: SSL is TLS, SASL a sign-in with name and password."""

    kafka_ca_file: Path | None = None
    """PEM file of the authority that signed Kafka's certificates; unset: those of the system."""

    kafka_cert_file: Path | None = None
    """PEM file of Regrow's own certificate, where Kafka asks for one."""

    kafka_key_file: Path | None = None
    """PEM file of the key of that certificate."""

    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is proven to Kafka; read with a SASL protocol alone. PLAIN sends it as it is: only over TLS."""

    kafka_username: str | None = None
    """Who signs in to Kafka."""

    kafka_password: SecretStr | None = None
    """The password of that user."""

    kafka_topic_prefix: str = ""
    """Goes before the names of topics and consumer groups, so that several Regrows can share a cluster."""

    kafka_replication: int = Field(default=1, ge=1, le=9)
    """Brokers that hold each record of the topics that Regrow makes: 3 on a cluster that shall survive the loss of one."""

    tls_cert_file: Path | None = None
    """PEM file of this service's certificate, with its chain: shown to the services that call it and to those that it calls.
    With it, its key and the authority, all calls between services are encrypted and both sides prove who they are."""

    tls_key_file: Path | None = None
    """PEM file of the private key of that certificate."""

    tls_key_password: SecretStr | None = None
    """The password of that key, where it has one."""

    tls_ca_file: Path | None = None
    """PEM file of the authority that signs the services' certificates, and nobody else's: who has one of it may call."""

    gateway_cert_file: Path | None = None
    """PEM file of the certificate that the gateway shows to the public, with its chain: REST is HTTPS then, gRPC over TLS."""

    gateway_key_file: Path | None = None
    """PEM file of the private key of that certificate."""

    gateway_key_password: SecretStr | None = None
    """The password of that key, where it has one."""

    labeling_address: Address = "127.0.0.1:7071"
    """Where the labeling service listens and is called."""

    training_address: Address = "127.0.0.1:7072"
    """Where the training service listens and is called."""

    registry_address: Address = "127.0.0.1:7073"
    """Where the registry service listens and is called."""

    gateway_http_address: Address = "127.0.0.1:8080"
    """Where the gateway serves REST."""

    gateway_grpc_address: Address = "127.0.0.1:8081"
    """Where the gateway serves gRPC."""

    drain_seconds: float = Field(default=20.0, ge=0)
    """How long running calls may take to finish after SIGTERM."""

    @classmethod
    def service_name(cls) -> str:
        """`labeling` for the prefix `REGROW_LABELING_`."""
        prefix = cls.model_config.get("env_prefix") or COMMON_PREFIX
        return prefix.removeprefix(COMMON_PREFIX).strip("_").lower() or "regrow"

    def database(self) -> str:
        """`database_url`, else the service's own SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / self.service_name()}.db"

    @property
    def metrics_address(self) -> str | None:
        """What `serve(metrics_address=...)` takes."""
        return f"{self.metrics_host}:{self.metrics_port}" if self.metrics_port else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Code, then the service's own variables, then the common ones; of each, the value before the file that holds it."""
        own = settings_cls.model_config.get("env_prefix") or COMMON_PREFIX
        return (
            init_settings,
            env_settings,
            _Files(settings_cls, env_prefix=own),
            _CommonVariables(settings_cls, env_prefix=COMMON_PREFIX),
            _CommonFiles(settings_cls, env_prefix=COMMON_PREFIX),
        )


class _CommonVariables(EnvSettingsSource):
    """`REGROW_*` for the common fields only: a service's own field never reads a name without its prefix."""

    def __call__(self) -> dict[str, Any]:
        found = {name: value for name, value in super().__call__().items() if name in CommonSettings.model_fields}
        own = self.settings_cls.model_config.get("env_prefix") or COMMON_PREFIX
        if "database_url" in found and own != COMMON_PREFIX and f"{own}database_url".lower() not in self.env_vars:
            service = own.removeprefix(COMMON_PREFIX).strip("_").lower()
            found["database_url"] = _schema_of_its_own(found["database_url"], service)
        return found


def _schema_of_its_own(url: str, service: str) -> str:
    """The database that the services share, with the service's schema as the place of its tables. Raises `InvalidField`."""
    if url.startswith("sqlite"):
        raise InvalidField(
            f"{COMMON_PREFIX}DATABASE_URL",
            "an SQLite file holds the tables of one service. Name a PostgreSQL database here, or a file for each service in"
            f" REGROW_<SERVICE>_DATABASE_URL ({COMMON_PREFIX}{service.upper()}_DATABASE_URL).",
        )
    try:
        address = make_url(url)
    except ArgumentError:
        return url  # told with the other values
    given = address.query.get("options", "")
    options = f"{given if isinstance(given, str) else ' '.join(given)} -csearch_path={service}".strip()
    return address.update_query_dict({"options": options}).render_as_string(hide_password=False)


class _Files(EnvSettingsSource):
    """`NAME_FILE` names the file that holds the value of `NAME`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        named = {name.removesuffix("_FILE"): path for name, path in os.environ.items() if name.endswith("_FILE") and path}
        fields = {f"{self.env_prefix}{field}".upper() for field in self.settings_cls.model_fields}
        return {name.lower(): _content(name, path) for name, path in named.items() if name in fields}


class _CommonFiles(_Files, _CommonVariables):
    """The same for the common fields."""


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"names '{path}', which can't be read ({getattr(error, 'strerror', 'it is not text')})."
        raise InvalidFields([FieldProblem(field=f"{name}_FILE", problem=problem)]) from None


def shared_token(data_dir: Path) -> str:
    """The token of this data folder, made by whoever comes first."""
    return kept_secret(data_dir, "internal.token", variable="REGROW_INTERNAL_TOKEN")


def kept_secret(data_dir: Path, name: str, *, variable: str) -> str:
    """A secret in a file of the data folder, made by whoever comes first. Only the owner can read it.

    Raises `FailedPrecondition`, which names the variable to set instead.
    """
    path = data_dir / name
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        mine = data_dir / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(mine, path)
        except FileExistsError:
            pass
        finally:
            mine.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise FailedPrecondition(
            f"No {name.replace('.', ' ')}: '{path}' can't be made or read ({error.strerror})."
            f" Set {variable}, or a REGROW_DATA_DIR that is writable.",
            reason=f"NO_{name.replace('.', '_').upper()}",
        ) from None


def load(settings_class: type[SettingsT], arguments: Sequence[str] | None = None) -> SettingsT:
    """Reads the settings at the start of a process. With `--print-config` among the arguments, prints them and ends it.

    Raises `InvalidFields` that names each wrong variable. From here on, a `RegrowError` that ends the process is told as
    its sentence, without a traceback: at start it is about what the operator set. The exit code is then 78, unless it is about
    an engine that is away, which another start may find there.
    """
    sys.excepthook = _tell
    try:
        settings = settings_class()
    except ValidationError as error:
        raise InvalidFields([_problem(settings_class, dict(one)) for one in error.errors()]) from None
    if "--print-config" in (sys.argv[1:] if arguments is None else arguments):
        sys.stdout.write(describe(settings))
        raise SystemExit(0)
    return settings


def describe(settings: CommonSettings) -> str:
    """One `NAME=value` line for each field under its docstring; secrets and passwords in URLs are masked."""
    lines: list[str] = []
    for name, field in type(settings).model_fields.items():
        if field.description:
            lines.append(f"# {' '.join(field.description.split())}")
        lines.append(f"{_variable(type(settings), name)}={_masked(getattr(settings, name))}")
    return "\n".join(lines) + "\n"


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The interpreter's hook for what ends the process; it exits with the code of a `SystemExit` that the hook raises."""
    if not isinstance(error, RegrowError):
        return sys.__excepthook__(kind, error, trace)
    lines = [f"{one.field}: {one.problem}" for one in error.problems] if isinstance(error, InvalidFields) else [error.message]
    sys.stderr.writelines(f"{line}\n" for line in lines)
    if not isinstance(error, Unavailable):
        raise SystemExit(WRONG_SETTINGS)


def _masked(value: object) -> str:
    return "" if value is None else _PASSWORD_IN_URL.sub(r"\1:**********@", str(value))


def _variable(settings_class: type[CommonSettings], field: str) -> str:
    own = settings_class.model_config.get("env_prefix") or COMMON_PREFIX
    return f"{COMMON_PREFIX if field in CommonSettings.model_fields else own}{field}".upper()


def _problem(settings_class: type[CommonSettings], error: dict[str, Any]) -> FieldProblem:
    field = _variable_read(settings_class, str(error["loc"][0])) if error["loc"] else settings_class.__name__
    return FieldProblem(field=field, problem=str(error["msg"]))


def _variable_read(settings_class: type[CommonSettings], field: str) -> str:
    """The variable that the value came from: of those that may hold it, the first that is set."""
    own, usual = settings_class.model_config.get("env_prefix") or COMMON_PREFIX, _variable(settings_class, field)
    names = dict.fromkeys([f"{own}{field}".upper(), usual])
    held = [variable for name in names for variable in (name, f"{name}_FILE") if variable in os.environ]
    return held[0] if held else usual
