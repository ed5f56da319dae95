"""Certificates that are made here, as `regrow up --tls` and `regrow certs` do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app
from regrow.local import certificates
from services.common.settings import load
from services.common.tls import own_certificate, public_certificate
from services.gateway.settings import GatewaySettings
from services.labeling.settings import LabelingSettings


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.pem")}


def test_the_settings_that_are_printed_are_those_that_services_start_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["certs", str(tmp_path / "certs"), "--host", "regrow.example"])
    assert done.exit_code == 0, done.output
    for line in done.stdout.split():
        name, _, value = line.partition("=")
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("REGROW_INTERNAL_TOKEN", "t")
    monkeypatch.setenv("REGROW_GATEWAY_KEY_PEPPER", "p" * 16)
    labeling, gateway = load(LabelingSettings, []), load(GatewaySettings, [])
    own, door, theirs = own_certificate(gateway), public_certificate(gateway), own_certificate(labeling)
    assert own is not None and door is not None and theirs is not None
    assert own.current().names[:2] == ("gateway", "localhost") and theirs.current().names[0] == "labeling"
    assert door.current().names == ("localhost", "regrow.example", "127.0.0.1", "::1")


def test_what_is_good_is_kept_and_keys_are_the_owners_alone(tmp_path: Path) -> None:
    folder = certificates.make(tmp_path / "certs")
    first = _content(folder)
    assert _content(certificates.make(folder)) == first
    for path in folder.rglob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(folder.rglob("ca-key.pem")) == [folder / "ca-key.pem"]


def test_another_host_or_a_near_end_makes_new_ones_of_the_same_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = certificates.make(tmp_path / "certs")
    first = _content(folder)
    with_host = _content(certificates.make(folder, ["10.1.2.3"]))
    assert with_host["ca.pem"] == first["ca.pem"] and with_host["public/cert.pem"] != first["public/cert.pem"]
    monkeypatch.setattr(certificates, "_RENEW_DAYS", 400)
    renewed = _content(certificates.make(folder, ["10.1.2.3"]))
    assert {name for name in renewed if renewed[name] == with_host[name]} == {
        "ca.pem", "ca-key.pem", *(f"{name}/ca.pem" for name in (*certificates.SERVICES, certificates.PUBLIC))
    }  # fmt: skip


def test_half_an_authority_is_told_and_not_replaced(tmp_path: Path) -> None:
    folder = certificates.make(tmp_path / "certs")
    before = (folder / "ca.pem").read_bytes()
    (folder / "ca-key.pem").unlink()
    done = CliRunner().invoke(app, ["certs", str(folder)])
    assert done.exit_code != 0 and (folder / "ca.pem").read_bytes() == before


def test_a_folder_of_something_else_is_told_and_left(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("mine")
    (tmp_path / "ca-key.pem").write_text("mine")
    done = CliRunner().invoke(app, ["certs", str(tmp_path)])
    assert done.exit_code != 0 and (tmp_path / "ca.pem").read_text() == "mine"
