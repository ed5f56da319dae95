"""Each check of a service on something that is well and on something that isn't: what it finds and what it says to do."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict
from real_engines import Minio

from services.common.checking import check_if_asked, engines, findings, machine
from services.common.checking.findings import Finding, guarded, misspelt
from services.common.database import open_database
from services.common.errors import EngineUnavailable, InvalidField
from services.common.events import DEAD_LETTER, FEEDBACK, TOPICS, Event, SqliteLog, events_from
from services.common.objects import objects_from
from services.common.settings import CommonSettings

MIGRATIONS = Path(__file__).parents[2] / "services" / "registry" / "migrations"


class RegistrySettings(CommonSettings):
    model_config = SettingsConfigDict(env_prefix="REGROW_REGISTRY_")


@pytest.fixture
def settings(tmp_path: Path) -> RegistrySettings:
    return RegistrySettings(data_dir=tmp_path, internal_token="t")


def by_check(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_a_database_is_well_migrated_old_or_newer_than_the_software(settings: RegistrySettings, tmp_path: Path) -> None:
    assert "first start" in by_check(engines.database(settings, MIGRATIONS))["database"].found
    open_database(settings.database(), migrations=MIGRATIONS).close()
    assert by_check(engines.database(settings, MIGRATIONS))["database"].verdict == "ok"
    for revision, verdict, todo in (("0001", "warning", "Back up"), ("9999", "problem", "newer Regrow")):
        with sqlite3.connect(tmp_path / "registry.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.close()
        found = by_check(engines.database(settings, MIGRATIONS))["database"]
        assert found.verdict == verdict and revision in found.found and todo in found.todo


def test_checking_a_database_changes_nothing(settings: RegistrySettings, tmp_path: Path) -> None:
    (tmp_path / "registry.db").touch()
    found = by_check(engines.database(settings, MIGRATIONS))["database"]
    assert (found.verdict, found.todo) == ("ok", "") and "the first start of the service makes its tables" in found.found
    assert (tmp_path / "registry.db").stat().st_size == 0


def test_lag_and_dead_letters_are_counted(settings: RegistrySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "first start" in by_check(engines.event_log(settings))["event log"].found
    log = SqliteLog(tmp_path / "events.db")
    log.ensure_topics()
    log.append(FEEDBACK, [Event(key="k", value=b"1")] * 3)
    found = by_check(engines.event_log(settings))
    assert {one.verdict for one in found.values()} == {"ok"} and "3 events" in found["lag of training"].found
    log.append(DEAD_LETTER, [Event(key="k", value=b"1")])
    monkeypatch.setattr(engines, "_MUCH_LAG", 3)
    found = by_check(engines.event_log(settings))
    assert found["dead letters"].verdict == "warning" and "dead_letter" in found["dead letters"].todo
    assert found["lag of training"].verdict == "warning" and "training" in found["lag of training"].todo
    log.close()


def test_a_log_without_topics_awaits_its_first_start_and_one_that_lost_some_is_told(
    settings: RegistrySettings, tmp_path: Path
) -> None:
    log = SqliteLog(tmp_path / "events.db")
    (before,) = engines.event_log(settings)
    assert (before.verdict, before.todo) == ("ok", "") and "the first start makes them" in before.found
    log.ensure_topics([topic for topic in TOPICS if topic.name != FEEDBACK])
    (without,) = engines.event_log(settings)
    assert without.verdict == "warning" and f"no topic {FEEDBACK} any more" in without.found
    log.close()


@pytest.mark.slow
def test_a_healthy_kafka_before_the_first_start_has_no_problem(kafka: str) -> None:
    settings = CommonSettings(kafka_bootstrap=kafka, kafka_topic_prefix=f"fresh-{os.getpid()}.", internal_token="t")
    (found,) = engines.event_log(settings)
    assert (found.verdict, found.todo) == ("ok", "") and f"Kafka at {kafka} answers and has no topic" in found.found
    with closing(events_from(settings)):
        assert by_check(engines.event_log(settings))["event log"].found == f"Kafka at {kafka} answers."


@pytest.mark.slow
def test_checking_a_store_makes_nothing_in_it_or_here(minio: Minio, tmp_path: Path) -> None:
    settings = CommonSettings(
        minio_endpoint=minio.endpoint, minio_access_key=minio.access_key, minio_secret_key=minio.secret_key,
        minio_bucket_prefix=f"fresh-{os.getpid()}-", data_dir=tmp_path / "none", internal_token="t",
    )  # fmt: skip
    for _ in range(2):
        found = by_check(engines.objects(settings))["objects"]
        assert found.verdict == "ok" and "has no bucket of Regrow; the first start makes them" in found.found
    assert not (tmp_path / "none").exists()
    objects_from(settings)
    assert by_check(engines.objects(settings))["objects"].found == f"MinIO at {minio.endpoint} answers."
    refused = settings.model_copy(update={"minio_secret_key": SecretStr("wrong")})
    (told,) = (one for one in guarded("objects", lambda: engines.objects(refused)) if one.verdict == "problem")
    assert "can't be used: the store refuses the key" in told.found


@pytest.mark.parametrize(("skew", "verdict"), [(1, "ok"), (30, "warning"), (-30, "warning"), (900, "problem")])
def test_a_clock_is_compared_with_the_middle_of_the_question(skew: int, verdict: str) -> None:
    asked = datetime.now(UTC)
    answered = asked + timedelta(seconds=2)
    found = machine.clock("clock", asked + timedelta(seconds=1 + skew), asked, answered)
    assert found.verdict == verdict and f"{abs(skew)}.0 s" in found.found
    assert ("NTP" in found.todo) == (verdict != "ok")


@pytest.mark.parametrize(("free", "verdict"), [(0.5, "problem"), (3, "warning"), (50, "ok")])
def test_a_disk_that_fills_is_told_before_it_is_full(
    free: float, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 << 30, 0, int(free * (1 << 30))))
    assert machine.disk(tmp_path / "not" / "there").verdict == verdict


def test_a_data_folder_whose_secret_others_can_read_is_a_problem(settings: RegistrySettings, tmp_path: Path) -> None:
    token = tmp_path / "internal.token"
    token.write_text("secret")
    token.chmod(0o600)
    assert machine.data_folder(settings).verdict == "ok"
    token.chmod(0o640)
    found = machine.data_folder(settings)
    assert found.verdict == "problem" and f"chmod 600 {token}" in found.todo


def test_a_port_that_another_program_has_is_told_with_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (found,) = machine.ports(CommonSettings(registry_address=address, internal_token="t"), "registry")
    assert found.verdict == "problem" and address in found.found and f"process {os.getpid()}" in found.found
    (free,) = machine.ports(CommonSettings(registry_address=address, internal_token="t"), "registry")
    assert free.verdict == "ok"


SERVICE = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_port_that_a_regrow_with_another_data_folder_has_is_told_with_that_folder(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    (tmp_path / "services.registry").write_text(SERVICE)
    command = [sys.executable, "services.registry"]
    environment = {**os.environ, "REGROW_DATA_DIR": "other"}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        address = f"127.0.0.1:{int(running.stdout.readline())}"
        taken, itself = (
            next(iter(machine.ports(CommonSettings(registry_address=address, data_dir=folder, internal_token="t"), "registry")))
            for folder in (own, other)
        )
        running.kill()
    assert taken.verdict == "problem" and f"another Regrow, whose data is in {other}" in taken.found
    assert f"regrow down --data {other}" in taken.todo
    assert itself.found.startswith("It runs")


def test_a_store_and_a_collector_that_are_away_are_told_by_their_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = CommonSettings(
        minio_endpoint=f"http://127.0.0.1:{port}", otlp_endpoint=f"http://127.0.0.1:{port}", internal_token="t"
    )
    with pytest.raises(EngineUnavailable, match=str(port)):
        list(engines.objects(settings))
    (found,) = engines.collector(settings)
    assert found.verdict == "warning" and str(port) in found.found and "REGROW_OTLP_ENDPOINT" in found.todo


def test_a_check_that_fails_is_a_finding_without_the_errors_text() -> None:
    def fail() -> Finding:
        raise RuntimeError("password=hunter2")

    def refuse() -> Finding:
        raise EngineUnavailable("database", "it is locked")

    (failed,), (refused,) = guarded("x", fail), guarded("y", refuse)
    assert failed.verdict == refused.verdict == "problem"
    assert "hunter2" not in failed.found and "RuntimeError" in failed.found and "locked" in refused.found
    assert "REGROW_DATABASE_URL" in refused.todo


def test_a_variable_that_is_no_setting_is_told_with_the_one_that_was_meant() -> None:
    well = ["REGROW_KAFKA_BOOTSTRAP", "REGROW_KAFKA_PASSWORD_FILE", "REGROW_REGISTRY_DATABASE_URL", "REGROW_KEY", "PATH",
            "REGROW_GATEWAY_ANYTHING", "REGROW_REGISTRY_ADDRESS", "REGROW_REGISTRY_METRICS_PORT"]  # fmt: skip
    assert list(misspelt(RegistrySettings, well)) == []
    far, near = misspelt(RegistrySettings, [*well, "REGROW_KAFKA_BOOTSTRAPS", "REGROW_FOO"])
    assert near.verdict == far.verdict == "warning"
    assert "REGROW_KAFKA_BOOTSTRAPS" in near.found and near.todo == "Did you mean REGROW_KAFKA_BOOTSTRAP?"
    assert "REGROW_FOO" in far.found and "--print-config" in far.todo


@pytest.mark.parametrize("wrong", ["nix", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:80", "::1:80"])
def test_an_address_that_nothing_can_listen_on_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(ValidationError, match="Write 'host:port'"):
        CommonSettings(registry_address=wrong, internal_token="t")
    assert CommonSettings(registry_address="[::1]:0", internal_token="t").registry_address == "[::1]:0"


def test_packages_are_compared_with_what_the_services_extra_asks_for() -> None:
    (found,) = [one for one in machine.packages("registry") if one.verdict != "warning"] or [None]
    assert found is None or "packages as tested" in found.found
    assert {one.name for one in machine._required("registry")} >= {"SQLAlchemy", "alembic", "structlog"}
    assert "torch" not in {one.name for one in machine._required("registry")}
    assert "torch" in {one.name for one in machine._required("training")}


def test_a_wrong_setting_is_a_finding_and_ends_the_check_with_1(tmp_path: Path) -> None:
    environment = {**os.environ, "REGROW_DATA_DIR": str(tmp_path / "none"), "REGROW_LOG_LEVEL": "LOUD"}
    command = [sys.executable, "-m", "services.registry", "--check", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert [one["verdict"] for one in json.loads(done.stdout) if one["check"] == "setting REGROW_LOG_LEVEL"] == ["problem"]
    assert not (tmp_path / "none").exists()


def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], own: object = None) -> list[dict[str, str]]:
    """What the check of a service finds with today's environment, in order."""
    with pytest.raises(SystemExit):
        check_if_asked(RegistrySettings, "registry", MIGRATIONS, ["--check", "--json"], own=own)  # type: ignore[arg-type]
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Today's environment, given back afterwards, for the check takes out of it what can't be read."""
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if not name.startswith("REGROW_")})
    monkeypatch.setattr(findings, "_be_quiet", lambda: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    os.environ["REGROW_DATA_DIR"] = str(tmp_path)
    return monkeypatch


def test_one_unreadable_value_hides_no_other_and_no_check_but_its_own(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ |= {
        "REGROW_KAFKA_SECURITY_PROTOCOL": "nope", "REGROW_DATABASE_URL": "sqlite:///all.db", "REGROW_LOG_LEVEL": "LOUD",
        "REGROW_REGISTRY_METRICS_PORT": "70000", "REGROW_INTERNAL_TOKEN_FILE": "/nowhere/token", "REGROW_FOO": "1",
    }  # fmt: skip
    found = checked(tmp_path, capsys)
    wrong = {one["check"]: one for one in found if one["verdict"] == "problem"}
    assert set(wrong) == {
        "setting REGROW_KAFKA_SECURITY_PROTOCOL", "setting REGROW_DATABASE_URL", "setting REGROW_LOG_LEVEL",
        "setting REGROW_REGISTRY_METRICS_PORT", "setting REGROW_INTERNAL_TOKEN_FILE",
    }  # fmt: skip
    assert all(one["todo"] for one in wrong.values())
    checks = {one["check"] for one in found}
    assert {"disk", "data folder", "objects", "ports"} <= checks and not {"database", "event log"} & checks
    assert "REGROW_FOO" in str(found) and "REGROW_LOG_JSON" not in str(found)


@pytest.mark.parametrize("variable", ["REGROW_DATABASE_URL", "REGROW_REGISTRY_DATABASE_URL"])
def test_a_database_of_another_kind_is_told_by_the_variable_that_names_it_without_its_password(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    os.environ[variable] = "mysql://anna:hunter2@host/name"
    (wrong,) = [one for one in checked(tmp_path, capsys) if one["verdict"] == "problem"]
    assert wrong["check"] == f"setting {variable}" and "'mysql'" in wrong["found"] and "hunter2" not in str(wrong)
    assert "postgresql://user:password@host/name" in wrong["found"] and "of that service alone" in wrong["found"]


def test_a_certificate_that_several_checks_need_is_one_finding_by_its_variable_with_what_to_do(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ |= {f"REGROW_TLS_{name}_FILE": f"/nowhere/{name}" for name in ("CERT", "KEY", "CA")}
    (wrong,) = [one for one in checked(tmp_path, capsys) if one["verdict"] == "problem"]
    assert wrong["check"] == "setting REGROW_TLS_CERT_FILE" and "/nowhere/CERT" in wrong["found"] and wrong["todo"]


def test_what_a_service_alone_has_is_checked_too_unless_its_settings_cant_be_read(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def till(settings: RegistrySettings) -> Iterator[Finding]:
        yield Finding(check="till", verdict="ok", found=str(settings.data_dir))
        raise InvalidField("REGROW_REGISTRY_TILL", "is locked.")

    found = {one["check"]: one for one in checked(tmp_path, capsys, own={"till": till})}
    assert found["setting REGROW_REGISTRY_TILL"]["verdict"] == "problem"
    assert found["setting REGROW_REGISTRY_TILL"]["found"] == "is locked."
