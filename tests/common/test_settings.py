"""Settings come from the environment, are told when wrong, and never show their secrets."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import make_url

from services.common.errors import FailedPrecondition, InvalidField, InvalidFields
from services.common.settings import CommonSettings, describe, load, shared_token


class ShopSettings(CommonSettings):
    model_config = SettingsConfigDict(env_prefix="REGROW_SHOP_")

    workers: int = 16
    """How many calls run at once."""

    api_key: SecretStr = SecretStr("")
    """Opens the till."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGROW_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def test_a_service_reads_its_own_and_the_common_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_SHOP_WORKERS", "3")
    monkeypatch.setenv("REGROW_LOG_LEVEL", "DEBUG")
    settings = load(ShopSettings, [])
    assert (settings.workers, settings.log_level) == (3, "DEBUG")


def test_a_services_own_field_is_not_read_from_a_common_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_WORKERS", "3")
    assert load(ShopSettings, []).workers == 16


def test_a_common_field_can_be_set_for_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_METRICS_PORT", "9000")
    monkeypatch.setenv("REGROW_SHOP_METRICS_PORT", "9001")
    assert load(ShopSettings, []).metrics_address == "127.0.0.1:9001"
    assert load(CommonSettings, []).metrics_address == "127.0.0.1:9000"


def test_each_service_has_a_database_of_its_own_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(ShopSettings, []).database() == f"sqlite:///{tmp_path}/data/shop.db"
    monkeypatch.setenv("REGROW_SHOP_DATABASE_URL", "postgresql://host/name")
    assert load(ShopSettings, []).database() == "postgresql://host/name"


def test_services_that_share_a_database_have_a_schema_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_DATABASE_URL", "postgresql://host/name")
    assert make_url(load(ShopSettings, []).database()).query == {"options": "-csearch_path=shop"}
    monkeypatch.setenv("REGROW_DATABASE_URL", "postgresql://host/name?options=-cstatement_timeout%3D9000&sslmode=require")
    query = make_url(load(ShopSettings, []).database()).query
    assert query == {"options": "-cstatement_timeout=9000 -csearch_path=shop", "sslmode": "require"}


def test_a_file_that_services_would_share_is_refused_unless_each_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_DATABASE_URL", f"sqlite:///{tmp_path}/all.db")
    with pytest.raises(InvalidField, match=r"REGROW_DATABASE_URL: .*REGROW_SHOP_DATABASE_URL"):
        load(ShopSettings, [])
    monkeypatch.setenv("REGROW_SHOP_DATABASE_URL", f"sqlite:///{tmp_path}/shop.db")
    assert load(ShopSettings, []).database() == f"sqlite:///{tmp_path}/shop.db"


def test_all_wrong_values_are_told_at_once_by_the_variables_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_SHOP_WORKERS", "many")
    monkeypatch.setenv("REGROW_METRICS_PORT", "70000")
    with pytest.raises(InvalidFields) as raised:
        load(ShopSettings, [])
    assert {problem.field for problem in raised.value.problems} == {"REGROW_SHOP_WORKERS", "REGROW_METRICS_PORT"}


def test_print_config_shows_every_field_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGROW_INTERNAL_TOKEN", "token-4711")
    monkeypatch.setenv("REGROW_SHOP_API_KEY", "key-4711")
    monkeypatch.setenv("REGROW_DATABASE_URL", "postgresql://anna:p@ss-4711@host/name")
    with pytest.raises(SystemExit) as ended:
        load(ShopSettings, ["--print-config"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert "4711" not in printed
    assert "# How many calls run at once.\nREGROW_SHOP_WORKERS=16\n" in printed
    assert "REGROW_DATABASE_URL=postgresql://anna:**********@host/name?options=-csearch_path%3Dshop\n" in printed


def test_every_common_field_says_what_it_is() -> None:
    assert [name for name, field in CommonSettings.model_fields.items() if not field.description] == []
    assert "REGROW_DATA_DIR=" in describe(load(CommonSettings, []))


def test_racing_processes_share_one_token_that_only_the_owner_reads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(shared_token, [tmp_path / "new"] * 32))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 32
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["internal.token"]
    assert stat.S_IMODE((tmp_path / "new" / "internal.token").stat().st_mode) == 0o600


def test_a_token_that_is_set_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGROW_INTERNAL_TOKEN", "t")
    assert load(CommonSettings, []).internal_token.get_secret_value() == "t"
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition, match="REGROW_INTERNAL_TOKEN"):
        shared_token(tmp_path / "file" / "below")


def test_a_wrong_setting_ends_the_process_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGROW_METRICS_PORT", "x")
    with pytest.raises(InvalidFields) as raised:
        load(ShopSettings, [])
    with pytest.raises(SystemExit) as ended:
        sys.excepthook(InvalidFields, raised.value, raised.value.__traceback__)
    assert ended.value.code == 78
    told = capsys.readouterr().err
    assert told.startswith("REGROW_METRICS_PORT: ")
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("FailedPrecondition('Change it.', reason='CHANGE_IT')", 78),
        ("EngineUnavailable('events', 'it is away')", 1),
        ("ValueError('a bug')", 1),
    ],
)
def test_the_exit_code_says_whether_another_start_may_help(error: str, code: int) -> None:
    program = f"""
from services.common.errors import EngineUnavailable, FailedPrecondition
from services.common.settings import CommonSettings, load
load(CommonSettings, [])
raise {error}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code
    assert ("Traceback" in ended.stderr) == ("bug" in error)


def test_a_value_can_lie_in_a_file_that_a_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, content in (("token", "from a file\n"), ("key", "till\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setenv("REGROW_INTERNAL_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("REGROW_SHOP_API_KEY_FILE", str(tmp_path / "key"))
    settings = load(ShopSettings, [])
    assert settings.internal_token.get_secret_value() == "from a file"
    assert settings.api_key.get_secret_value() == "till"
    monkeypatch.setenv("REGROW_SHOP_API_KEY", "itself")
    assert load(ShopSettings, []).api_key.get_secret_value() == "itself"


def test_a_services_own_file_wins_over_the_common_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://own/one")
    monkeypatch.setenv("REGROW_DATABASE_URL", "postgresql://common/one")
    monkeypatch.setenv("REGROW_SHOP_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert load(ShopSettings, []).database() == "postgresql://own/one"


def test_a_file_that_is_not_there_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGROW_INTERNAL_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(InvalidFields, match="REGROW_INTERNAL_TOKEN_FILE") as told:
        load(ShopSettings, [])
    assert "absent" in told.value.problems[0].problem
