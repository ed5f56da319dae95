"""`regrow keys` and `regrow audit` against a real gRPC server whose answers are written here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from regrow.credentials import (
    credentials_file,
    key_of_folder,
    store_key_of_folder,
    stored_credentials,
)
from regrow.gateway.v1 import audit_pb2, gateway_pb2

Run = Callable[..., tuple[int, str, str]]


def test_a_key_is_made_for_models_and_a_length_of_time(run: Run, gateway: Any) -> None:
    asked = []

    def create(request: gateway_pb2.CreateKeyRequest) -> gateway_pb2.CreateKeyResponse:
        asked.append(request.key)
        return gateway_pb2.CreateKeyResponse(key=request.key, secret="rg_new")

    gateway.on("CreateKey", create)
    code, out, _ = run("keys", "create", "shop app", "--project", "shop", "--model", "reviews", "--expires", "90d")
    assert (code, asked[0].ttl.seconds, list(asked[0].models)) == (0, 90 * 86400, ["projects/shop/models/reviews"])
    assert "rg_new" in out


def test_a_rotation_says_until_when_the_secret_before_is_good(run: Run, gateway: Any) -> None:
    def rotate(request: gateway_pb2.RotateKeyRequest) -> gateway_pb2.RotateKeyResponse:
        until = Timestamp(seconds=int(time.time()) + request.grace.seconds)
        key = gateway_pb2.Key(name=request.name, former_expire_time=until if request.grace.seconds else None)
        return gateway_pb2.RotateKeyResponse(key=key, secret="rg_second")

    gateway.on("RotateKey", rotate)
    gateway.on("GetCaller", lambda _: gateway_pb2.Key(name="keys/mine"))
    code, out, _ = run("keys", "rotate", "abc", "--grace", "2h")
    assert code == 0
    assert "keys/abc" in out and "rg_second" in out
    assert "it ended now" in run("keys", "rotate", "keys/abc", "--grace", "0s")[1]
    assert stored_credentials().key == "rg_secret"


def test_who_rotates_the_key_that_they_are_logged_in_with_stays_logged_in(
    run: Run, gateway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate(request: gateway_pb2.RotateKeyRequest) -> gateway_pb2.RotateKeyResponse:
        return gateway_pb2.RotateKeyResponse(key=gateway_pb2.Key(name=request.name), secret="rg_new")

    gateway.on("RotateKey", rotate)
    gateway.on("GetCaller", lambda _: gateway_pb2.Key(name="keys/mine"))
    store_key_of_folder(tmp_path, "rg_secret")
    store_key_of_folder(tmp_path / "other", "rg_other")
    code, out, err = run("keys", "rotate", "mine")
    assert code == 0 and "rg_new" in out and "its new secret is stored" in err
    kept = (stored_credentials().key, key_of_folder(tmp_path), key_of_folder(tmp_path / "other"))
    assert kept == ("rg_new", "rg_new", "rg_other")
    monkeypatch.setenv("REGROW_KEY", "rg_elsewhere")
    assert "REGROW_KEY still holds the secret before" in run("keys", "rotate", "mine")[2]
    assert json.loads(credentials_file().read_text())["key"] == "rg_new"


def test_a_key_is_made_with_limits_and_for_a_model_to_come(run: Run, gateway: Any) -> None:
    asked = []

    def create(request: gateway_pb2.CreateKeyRequest) -> gateway_pb2.CreateKeyResponse:
        asked.append(request)
        return gateway_pb2.CreateKeyResponse(key=request.key, secret="rg_new")

    gateway.on("CreateKey", create)
    limits = ("--calls-per-second", "2.5", "--rows-per-day", "0")
    code, _, _ = run("keys", "create", "app", "-m", "soon", "--allow-missing", *limits)
    assert (code, asked[0].allow_missing_models, asked[0].key.limits.calls_per_second) == (0, True, 2.5)
    assert asked[0].key.limits.HasField("rows_per_day") and not asked[0].key.limits.HasField("burst")
    assert run("keys", "create", "app")[0] == 0 and not asked[1].key.limits.ListFields() and not asked[1].allow_missing_models


def test_the_list_says_what_a_key_is_good_for_and_when_it_ends(run: Run, gateway: Any) -> None:
    keys = [
        gateway_pb2.Key(name="keys/a", role=gateway_pb2.ROLE_VIEWER, models=["projects/shop/models/reviews"]),
        gateway_pb2.Key(name="keys/b", role=gateway_pb2.ROLE_ADMIN, revoke_time=Timestamp(seconds=1_800_000_000)),
    ]
    gateway.on("ListKeys", lambda _: gateway_pb2.ListKeysResponse(keys=keys))
    _, out, _ = run("keys", "list")
    assert "reviews" in out and "revoked 2027" in out


def test_a_key_is_shown_with_what_it_may_do(run: Run, gateway: Any) -> None:
    key = gateway_pb2.Key(name="keys/a", role=gateway_pb2.ROLE_EDITOR, prefix="rg_abc", last_use_time=Timestamp(seconds=60))
    gateway.on("GetKey", lambda request: key if request.name == "keys/a" else gateway_pb2.Key())
    _, out, _ = run("keys", "show", "a")
    assert "editor" in out and "rg_abc" in out and "last used" in out


def test_a_key_changes_in_what_is_said_and_nothing_else(run: Run, gateway: Any) -> None:
    asked = []

    def update(request: gateway_pb2.UpdateKeyRequest) -> gateway_pb2.Key:
        asked.append(request)
        return request.key

    gateway.on("UpdateKey", update)
    code, out, _ = run("keys", "update", "a", "--rows-per-day", "500", "--burst", "0", "--expires", "never")
    assert (code, list(asked[0].update_mask.paths)) == (0, ["expire_time", "limits.burst", "limits.rows_per_day"])
    assert asked[0].key.WhichOneof("expiration") is None and asked[0].key.limits.rows_per_day == 500
    assert "rows per day" in out and "500" in out and "no limit" in out
    assert "Say what changes" in run("keys", "update", "a")[2]


def test_the_audit_log_is_listed_by_what_is_asked_for(run: Run, gateway: Any) -> None:
    asked = []

    def listed(request: audit_pb2.ListAuditEventsRequest) -> audit_pb2.ListAuditEventsResponse:
        asked.append(request)
        event = audit_pb2.AuditEvent(
            event_time=Timestamp(seconds=1_800_000_000), method="regrow.registry.v1.AliasService/SetAlias",
            resource="projects/shop/models/m/aliases/champion", outcome="ABORTED", reason="ETAG_MISMATCH",
            actor=audit_pb2.Actor(display_name="Ann"), call_count=59,
        )  # fmt: skip
        return audit_pb2.ListAuditEventsResponse(audit_events=[event])

    gateway.on("ListAuditEvents", listed)
    code, out, _ = run("audit", "list", "--since", "1h", "--method", "SetAlias")
    assert (code, asked[0].method) == (0, "SetAlias")
    assert 3590 < time.time() - asked[0].start_time.seconds < 3620
    for words in ("Ann", "SetAlias", "m/champion", "ETAG_MISMATCH", "59 times"):
        assert words in out


@pytest.mark.parametrize("words", [("create", "x", "--expires", "soon"), ("rotate", "a", "--grace", "1 week")])
def test_a_length_of_time_that_cant_be_read_is_told(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run("keys", *words)
    assert code == 1
    assert "Write 90d, 12h, 30m or 10s." in err
