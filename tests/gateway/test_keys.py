"""API keys: made, listed, revoked, and never lost for good."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.common.database import schema_differences
from services.common.errors import FailedPrecondition, PermissionDenied, Unauthenticated
from services.common.rpc.principal import Principal
from services.gateway.keys import handlers, storage
from services.gateway.keys.ring import KeyRing

MASTER = Principal(key_id="m", role="admin", name="master")


@pytest.fixture
def database(tmp_path: Path):
    opened = storage.open_keys(f"sqlite:///{tmp_path}/keys.db")
    yield opened
    opened.close()


def test_the_migrations_make_exactly_the_tables(database) -> None:
    assert schema_differences(database, storage.GatewayTable.metadata) == []


def test_of_many_first_starts_at_once_one_makes_the_first_key(database) -> None:
    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(handlers.create_first(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in made) == 1


def test_no_secret_is_in_the_database(database, tmp_path: Path) -> None:
    secret = handlers.create_first(database)
    assert secret is not None
    database.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in content
    assert secret.split("_", 2)[2].encode() not in content


def test_a_revoked_key_is_refused_at_once_and_the_others_stay_good(call, new_key, error) -> None:
    key, other = new_key("viewer"), new_key("viewer")
    name = call("GET", "/v1/caller", key=key).json()["name"]
    revoked = call("POST", f"/v1/{name}:revoke", json={})
    assert revoked.json()["revokeTime"]
    answer = call("GET", "/v1/caller", key=key)
    assert answer.status_code == 401
    assert "revoked" in error(answer)["message"]
    assert call("GET", "/v1/caller", key=other).status_code == 200
    assert call("POST", f"/v1/{name}:revoke", json={}).json()["revokeTime"] == revoked.json()["revokeTime"]


def test_a_refresh_that_began_before_a_revocation_doesnt_bring_the_key_back(database) -> None:
    async def story() -> None:
        ring = KeyRing(database)
        key, secret = handlers.create(database, MASTER, display_name="", role="viewer", projects=[])
        handlers.create_first(database)
        await ring.principal(f"Bearer {secret}")
        ring.put(handlers.revoke(database, MASTER, key.id))
        ring.put(key)
        with pytest.raises(Unauthenticated):
            await ring.principal(f"Bearer {secret}")

    asyncio.run(story())


def test_a_key_revoked_by_another_process_is_refused_after_the_next_refresh(database) -> None:
    async def story() -> None:
        ring = KeyRing(database)
        key, secret = handlers.create(database, MASTER, display_name="", role="viewer", projects=[])
        await ring.principal(f"Bearer {secret}")
        handlers.revoke(database, MASTER, key.id)
        await ring.refresh()
        with pytest.raises(Unauthenticated):
            await ring.principal(f"Bearer {secret}")

    asyncio.run(story())


def test_the_last_admin_key_for_all_projects_cant_be_revoked(database) -> None:
    handlers.create_first(database)
    handlers.create(database, MASTER, display_name="", role="admin", projects=["projects/shop"])
    second, _ = handlers.create(database, MASTER, display_name="", role="admin", projects=[])
    handlers.revoke(database, MASTER, second.id)
    with pytest.raises(FailedPrecondition) as refused:
        handlers.revoke(database, MASTER, "first-admin")
    assert refused.value.reason == "LAST_ADMIN_KEY"


def test_of_two_admins_who_revoke_each_other_at_once_one_stays(database) -> None:
    handlers.create_first(database)
    second, _ = handlers.create(database, MASTER, display_name="", role="admin", projects=[])
    outcomes: list[bool] = []

    def revoke(key_id: str) -> None:
        try:
            handlers.revoke(database, MASTER, key_id)
            outcomes.append(True)
        except FailedPrecondition:
            outcomes.append(False)

    threads = [threading.Thread(target=revoke, args=(key_id,)) for key_id in ("first-admin", second.id)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, True]


def test_a_key_never_makes_one_that_reaches_further(database) -> None:
    shop = Principal(key_id="s", role="admin", projects=("shop",), name="shop")
    for projects in ([], ["projects/bank"], ["projects/shop", "projects/bank"]):
        with pytest.raises(PermissionDenied):
            handlers.create(database, shop, display_name="", role="viewer", projects=projects)
    handlers.create(database, shop, display_name="", role="viewer", projects=["projects/shop"])


def test_an_admin_of_some_projects_sees_and_revokes_only_keys_inside_them(call, new_key) -> None:
    shop, bank = new_key("admin", "shop"), new_key("viewer", "bank")
    name = call("GET", "/v1/caller", key=bank).json()["name"]
    assert call("POST", f"/v1/{name}:revoke", key=shop, json={}).status_code == 404
    listed = call("GET", "/v1/keys?page_size=1000", key=shop).json()["keys"]
    assert listed and all(key["projects"] == ["projects/shop"] for key in listed)


def test_keys_are_listed_newest_first_page_by_page_without_secrets(call, new_key) -> None:
    made = [new_key("viewer", name=f"page {number}") for number in range(5)]
    names, token = [], ""
    while True:
        page = call("GET", f"/v1/keys?page_size=2&page_token={token}").json()
        names += [key["displayName"] for key in page["keys"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert names[:5] == [f"page {number}" for number in reversed(range(5))]
    assert made[0] not in str(page)


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "key.role"), ({"role": "ROLE_ADMIN", "projects": ["shop"]}, "key.projects[0]"), ({"role": "boss"}, "key.role"),
     ({"role": "viewer", "projects": ["projects/No"]}, "key.projects[0]"), ({"role": 17}, "key.role")],
)  # fmt: skip
def test_a_key_with_a_wrong_field_is_refused(call, error, body, field) -> None:
    answer = call("POST", "/v1/keys", json=body)
    assert answer.status_code == 400
    assert field in error(answer)["fields"]


def test_a_project_admin_makes_no_project(call, new_key, error) -> None:
    answer = call("POST", "/v1/projects?project_id=mine", key=new_key("admin", "shop"), json={})
    assert answer.status_code == 403


def test_the_caller_sees_itself_with_the_minute_of_its_last_use(call, new_key) -> None:
    caller = call("GET", "/v1/caller", key=new_key("labeler", "shop", name="ann")).json()
    assert (caller["displayName"], caller["role"], caller["projects"]) == ("ann", "ROLE_LABELER", ["projects/shop"])
    assert caller["lastUseTime"].endswith(":00Z")
    assert caller["prefix"].startswith("rg_")


def test_the_last_use_is_written_in_batches(database) -> None:
    async def story() -> None:
        ring = KeyRing(database)
        key, secret = handlers.create(database, MASTER, display_name="", role="viewer", projects=[])
        for _ in range(10):
            await ring.principal(f"Bearer {secret}")
        await ring.write_uses()
        with database.reading() as session:
            kept = storage.find(session, key.id)
        assert kept is not None and kept.last_used is not None and kept.last_used.second == 0

    asyncio.run(story())


@pytest.mark.slow
def test_an_admin_key_that_was_lost_is_made_anew_on_the_machine_while_the_gateway_runs(gateway, world, call) -> None:
    environment = {**os.environ, **world.environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run(
        [sys.executable, "-m", "services.gateway", "keys", "reset"], env=environment, capture_output=True, text=True, check=True
    )
    secret = made.stdout.splitlines()[-1]
    assert call("GET", "/v1/caller", key=secret).json()["role"] == "ROLE_ADMIN"
