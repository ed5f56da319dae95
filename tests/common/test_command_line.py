"""What a service takes on its command line, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.command_line import read_command_line

SERVICES = ("labeling", "training", "registry", "gateway")


def _ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        read_command_line("shop", "Sells.", commands={"keys reset": "makes a key"}, arguments=arguments)
    told = capsys.readouterr()
    return ended.value.code, told.out + told.err


def test_help_says_what_the_service_is_its_switches_and_where_settings_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = _ended(capsys, "--help")
    assert code == 0
    for word in ("Sells.", "--check", "--json", "--print-config", "keys reset", "REGROW_SHOP_*", "NAME_FILE"):
        assert word in told


@pytest.mark.parametrize("wrong", [["--bogus"], ["--chec"], ["serve"], ["keys"], ["keys", "reset", "now"], ["--json"]])
def test_what_a_service_doesnt_take_is_refused_by_name(capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    code, told = _ended(capsys, *wrong)
    assert code == 2
    assert wrong[0] in told


@pytest.mark.parametrize("right", [[], ["--check"], ["--check", "--json"], ["--print-config"], ["keys", "reset"]])
def test_what_a_service_takes_goes_on(right: list[str]) -> None:
    read_command_line("shop", "Sells.", commands={"keys reset": "makes a key"}, arguments=right)


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--bogus", 2)])
def test_no_service_starts_on_an_argument_that_asks_for_something_else(
    tmp_path: Path, service: str, argument: str, code: int
) -> None:
    environment = {**os.environ, "REGROW_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", f"services.{service}", argument]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert f"usage: python -m services.{service}" in ended.stdout + ended.stderr
    assert not (tmp_path / "data").exists(), "it began to start"
