"""Certificates from files: what is told where they don't fit, and how they are replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.common.checking.machine import certificates
from services.common.errors import InvalidInput
from services.common.settings import CommonSettings
from services.common.tls import own_certificate, public_certificate, renewing


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def settings(**fields: Any) -> CommonSettings:
    return CommonSettings(internal_token="t", **fields)


def test_nothing_set_is_plain_and_a_part_of_it_is_told_by_name(authority: Authority) -> None:
    assert own_certificate(settings()) is None and public_certificate(settings()) is None
    cert, _ = authority.issue("a")
    with pytest.raises(InvalidInput) as told:
        own_certificate(settings(tls_cert_file=cert))
    assert [one.field for one in told.value.problems] == ["REGROW_TLS_KEY_FILE", "REGROW_TLS_CA_FILE"]
    with pytest.raises(InvalidInput, match="REGROW_GATEWAY_KEY_FILE: is not set"):
        public_certificate(settings(gateway_cert_file=cert))


def test_each_file_that_does_not_fit_is_told_by_the_variable_that_names_it(authority: Authority, tmp_path: Path) -> None:
    good = authority.settings("good")
    _, others_key = authority.issue("other")
    expired, expired_key = authority.issue("expired", days=-1, begun=9)
    early, early_key = authority.issue("early", begun=-2)
    text = tmp_path / "text.pem"
    text.write_text("no PEM at all")
    wrong: dict[str, tuple[dict[str, Path], str]] = {
        "missing certificate": ({"tls_cert_file": tmp_path / "no.pem"}, r"REGROW_TLS_CERT_FILE: .*no\.pem.*No such file"),
        "missing key": ({"tls_key_file": tmp_path / "no.pem"}, r"REGROW_TLS_KEY_FILE: .*No such file"),
        "missing authority": ({"tls_ca_file": tmp_path / "no.pem"}, r"REGROW_TLS_CA_FILE: .*No such file"),
        "a folder": ({"tls_cert_file": tmp_path}, "REGROW_TLS_CERT_FILE: .*directory"),
        "no certificate": ({"tls_cert_file": text}, "REGROW_TLS_CERT_FILE: .*no certificate.*PEM"),
        "no key": ({"tls_key_file": text}, "REGROW_TLS_KEY_FILE: .*no private key.*PEM"),
        "no authority": ({"tls_ca_file": text}, "REGROW_TLS_CA_FILE: .*no certificate"),
        "swapped": ({"tls_cert_file": good["tls_key_file"]}, "REGROW_TLS_CERT_FILE: .*no certificate"),
        "another key": ({"tls_key_file": others_key}, "REGROW_TLS_KEY_FILE: .*is not the key of the certificate"),
        "expired": ({"tls_cert_file": expired, "tls_key_file": expired_key}, "REGROW_TLS_CERT_FILE: .*has expired on 20"),
        "not begun": ({"tls_cert_file": early, "tls_key_file": early_key}, "REGROW_TLS_CERT_FILE: .*valid from .*clock"),
    }
    for case, (change, words) in wrong.items():
        with pytest.raises(InvalidInput) as told:
            own_certificate(settings(**{**good, **change}))
        assert re.search(words, told.value.message), (case, told.value.message)


def test_a_key_with_a_password_needs_just_that_one(authority: Authority) -> None:
    cert, key = authority.issue("locked", password="sesame")
    files = {"gateway_cert_file": cert, "gateway_key_file": key}
    with pytest.raises(InvalidInput, match="REGROW_GATEWAY_KEY_PASSWORD: is not set"):
        public_certificate(settings(**files))
    with pytest.raises(InvalidInput, match="REGROW_GATEWAY_KEY_PASSWORD: is not the password") as told:
        public_certificate(settings(**files, gateway_key_password="guessed"))
    assert "guessed" not in told.value.message
    opened = public_certificate(settings(**files, gateway_key_password="sesame"))
    assert opened is not None and opened.current().names == ("localhost", "127.0.0.1")


def test_a_replaced_certificate_is_taken_and_a_torn_replacement_is_not(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    files = authority.files("a")
    first = files.current()
    assert files.current() is first
    authority.issue("a", days=200)
    second = files.current()
    assert second.chain != first.chain and second.ends > first.ends
    files.key.write_text("torn")
    with capture_logs() as logs:
        assert files.current() is second and files.current() is second
    assert [line["event"] for line in logs] == ["new certificate not taken"]
    authority.issue("a", days=300)
    assert files.current().ends > second.ends
    told = REGISTRY.get_sample_value("regrow_certificate_end_seconds", {"certificate": "own"})
    assert told == files.current().ends.timestamp()


def test_thirty_days_before_the_end_the_log_warns_once_a_day_and_the_doctor_says_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewing, "_LOOK_EVERY", 0.0)
    cert, key = authority.issue("short", days=29.5)
    ours = settings(tls_cert_file=cert, tls_key_file=key, tls_ca_file=authority.ca)
    with capture_logs() as logs:
        files = own_certificate(ours)
        assert files is not None
        files.current()
    assert [(line["event"], line["days"]) for line in logs] == [("certificate ends soon", 29)]
    [finding] = certificates(ours, "labeling")
    assert finding.verdict == "warning" and "29 days" in finding.found
    authority.issue("short", days=90)
    [finding] = certificates(ours, "labeling")
    assert finding.verdict == "ok"
    key.chmod(0o644)
    [finding] = certificates(ours, "labeling")
    assert finding.verdict == "warning" and finding.todo == f"chmod 600 {key}"
