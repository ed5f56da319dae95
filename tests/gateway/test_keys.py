"""API keys: made, listed, revoked, and never lost for good."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from services.common.database import now, schema_differences
from services.common.errors import FailedPrecondition, PermissionDenied, Unauthenticated
from services.common.rpc.principal import Principal
from services.gateway.keys import storage
from services.gateway.keys.handlers import Keys, Wish
from services.gateway.keys.ring import KeyRing
from services.gateway.keys.rules import Pepper

MASTER = Principal(key_id="m", role="admin", name="master")
PEPPER = Pepper("the pepper of this test")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path):
    sqlite = f"sqlite:///{tmp_path}/keys.db"
    opened = storage.open_keys(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_database"))
    yield opened
    opened.close()


@pytest.fixture
def keys(database) -> Keys:
    return Keys(database, PEPPER)


def test_the_migrations_make_exactly_the_tables(database) -> None:
    assert schema_differences(database, storage.GatewayTable.metadata) == []


def test_of_many_first_starts_at_once_one_makes_the_first_key(keys) -> None:
    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(keys.create_first())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in made) == 1


def test_no_secret_is_in_the_database(keys, database, tmp_path: Path) -> None:
    secret = keys.create_first()
    assert secret is not None
    with database.reading() as session:
        rows = str(session.execute(sa.select(storage.KeyRow.__table__)).all())
    database.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir()) + rows.encode()
    assert secret.split("_", 2)[1] in rows  # its prefix is kept, to tell keys apart
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


def test_a_refresh_that_began_before_a_revocation_doesnt_bring_the_key_back(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        key, secret = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
        keys.create_first()
        await ring.principal(f"Bearer {secret}")
        ring.put(keys.revoke(MASTER, key.id))
        ring.put(key)
        with pytest.raises(Unauthenticated):
            await ring.principal(f"Bearer {secret}")

    asyncio.run(story())


def test_a_key_revoked_by_another_process_is_refused_after_the_next_refresh(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        key, secret = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
        await ring.principal(f"Bearer {secret}")
        keys.revoke(MASTER, key.id)
        await ring.refresh()
        with pytest.raises(Unauthenticated):
            await ring.principal(f"Bearer {secret}")

    asyncio.run(story())


def test_the_last_admin_key_for_all_projects_cant_be_revoked(keys) -> None:
    keys.create_first()
    keys.create(MASTER, Wish(display_name="a key", role="admin", projects=["projects/shop"]))
    second, _ = keys.create(MASTER, Wish(display_name="a key", role="admin"))
    keys.revoke(MASTER, second.id)
    with pytest.raises(FailedPrecondition) as refused:
        keys.revoke(MASTER, "first-admin")
    assert refused.value.reason == "LAST_ADMIN_KEY"


def test_of_two_admins_who_revoke_each_other_at_once_one_stays(keys) -> None:
    keys.create_first()
    second, _ = keys.create(MASTER, Wish(display_name="a key", role="admin"))
    outcomes: list[bool] = []

    def revoke(key_id: str) -> None:
        try:
            keys.revoke(MASTER, key_id)
            outcomes.append(True)
        except FailedPrecondition:
            outcomes.append(False)

    threads = [threading.Thread(target=revoke, args=(key_id,)) for key_id in ("first-admin", second.id)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, True]


def test_a_key_never_makes_one_that_reaches_further(keys) -> None:
    shop = Principal(key_id="s", role="admin", projects=("shop",), name="shop")
    for projects in ([], ["projects/bank"], ["projects/shop", "projects/bank"]):
        with pytest.raises(PermissionDenied):
            keys.create(shop, Wish(display_name="a key", role="viewer", projects=projects))
    keys.create(shop, Wish(display_name="a key", role="viewer", projects=["projects/shop"]))


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


def test_keys_are_filtered_and_ordered_among_those_that_the_viewer_may_see(call, new_key, error) -> None:
    ours = new_key("admin", "shop", name="filtered b")
    for name, project in (("filtered a", "shop"), ("filtered c", "bank")):
        new_key("viewer", project, name=name)

    def listed(query: str, key: str | None = None) -> list[str]:
        answer = call("GET", f"/v1/keys?page_size=2&{query}", key=key).json()
        found = [one["displayName"] for one in answer["keys"]]
        return found + (listed(f"page_token={answer['nextPageToken']}&{query}", key) if answer["nextPageToken"] else [])

    wanted = 'filter=display_name = "filtered*"'
    assert listed(wanted) == ["filtered c", "filtered a", "filtered b"]
    assert listed(f"{wanted}&order_by=display_name desc") == ["filtered c", "filtered b", "filtered a"]
    assert listed(f"{wanted} AND role = viewer AND NOT revoke_time:*") == ["filtered c", "filtered a"]
    assert listed(f"{wanted}&order_by=display_name", ours) == ["filtered a", "filtered b"]
    assert "role, prefix" in error(call("GET", "/v1/keys?filter=secret = 1"))["fields"]["filter"]


def test_of_two_who_change_a_key_at_once_the_second_hears_of_the_first(call, new_key, error) -> None:
    new_key("viewer", name="contested")
    (read,) = call("GET", '/v1/keys?filter=display_name = "contested"').json()["keys"]

    def rename(name: str, etag: str) -> Any:
        return call("PATCH", f"/v1/{read['name']}?update_mask=display_name", json={"displayName": name, "etag": etag})

    first = rename("first", read["etag"])
    assert first.json()["displayName"] == "first" and first.json()["etag"] != read["etag"]
    assert error(rename("second", read["etag"]))["reason"] == "ETAG_MISMATCH"
    assert rename("third", first.json()["etag"]).json()["displayName"] == rename("third", "").json()["displayName"] == "third"


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "key.role"), ({"role": "ROLE_ADMIN", "projects": ["shop"]}, "key.projects[0]"), ({"role": "boss"}, "key.role"),
     ({"role": "viewer", "projects": ["projects/No"]}, "key.projects[0]"), ({"role": 17}, "key.role")],
)  # fmt: skip
def test_a_key_with_a_wrong_field_is_refused(call, error, body, field) -> None:
    answer = call("POST", "/v1/keys", json={"displayName": "wrong", **body})
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


def test_the_last_use_is_written_in_batches(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        key, secret = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
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


def test_keys_that_were_kept_without_a_pepper_stay_good_and_their_bare_digests_go(keys, database) -> None:
    secret = keys.create_first()
    bare = hashlib.sha256(secret.encode()).hexdigest()
    with database.session() as session:
        session.execute(sa.update(storage.KeyRow).values(digest=bare, pepper=""))
    keys.adopt()
    with database.reading() as session:
        assert session.scalars(sa.select(storage.KeyRow.digest)).all() != [bare]
    assert asyncio.run(KeyRing(database, PEPPER).principal(f"Bearer {secret}")).role == "admin"


def test_without_the_pepper_who_reads_the_database_can_test_no_secret(keys, database) -> None:
    secret = keys.create_first()
    with pytest.raises(Unauthenticated):
        asyncio.run(KeyRing(database, Pepper("another pepper")).principal(f"Bearer {secret}"))


def test_a_gateway_with_another_pepper_says_so_until_it_has_a_key_of_its_own(keys, database) -> None:
    keys.create_first()
    other = Keys(database, Pepper("another pepper"))
    with pytest.raises(FailedPrecondition) as refused:
        other.adopt()
    assert "REGROW_GATEWAY_KEY_PEPPER" in refused.value.message
    other.reset()
    other.adopt()


def test_a_key_ends_by_itself(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        _, secret = keys.create(MASTER, Wish(display_name="a key", role="viewer", expires=now() + timedelta(seconds=0.3)))
        assert (await ring.principal(f"Bearer {secret}")).role == "viewer"
        await asyncio.sleep(0.4)
        for known in (ring, KeyRing(database, PEPPER)):
            with pytest.raises(Unauthenticated) as refused:
                await known.principal(f"Bearer {secret}")
            assert "ended at" in refused.value.message

    asyncio.run(story())


def test_an_admin_key_that_expires_isnt_the_last_one(keys) -> None:
    keys.create_first()
    keys.create(MASTER, Wish(display_name="a key", role="admin", expires=now() + timedelta(days=1)))
    with pytest.raises(FailedPrecondition):
        keys.revoke(MASTER, "first-admin")


def test_a_rotated_key_has_two_secrets_for_a_while_and_then_one(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        key, first = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
        await ring.principal(f"Bearer {first}")
        rotated, second = keys.rotate(MASTER, key.id, timedelta(seconds=0.4))
        ring.put(rotated)
        ring.put(key)  # a read that began before the rotation
        for secret in (first, second):
            assert (await ring.principal(f"Bearer {secret}")).key_id == key.id
        await asyncio.sleep(0.5)
        assert (await ring.principal(f"Bearer {second}")).key_id == key.id
        with pytest.raises(Unauthenticated):
            await ring.principal(f"Bearer {first}")

    asyncio.run(story())


def test_a_second_rotation_within_the_grace_takes_no_secret_away_that_was_promised(keys, database) -> None:
    async def story() -> None:
        ring = KeyRing(database, PEPPER)
        key, first = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
        rotated, second = keys.rotate(MASTER, key.id, timedelta(hours=1))
        with pytest.raises(FailedPrecondition) as refused:
            keys.rotate(MASTER, key.id, timedelta(hours=2))
        assert (
            refused.value.reason == "FORMER_SECRET_GOOD" and f"{rotated.former.until:%Y-%m-%d %H:%M}" in refused.value.message
        )
        for secret in (first, second):
            assert (await ring.principal(f"Bearer {secret}")).key_id == key.id
        ended, third = keys.rotate(MASTER, key.id, timedelta())
        ring.put(ended)
        for secret in (first, second):
            with pytest.raises(Unauthenticated):
                await ring.principal(f"Bearer {secret}")
        assert (await ring.principal(f"Bearer {third}")).key_id == key.id

    asyncio.run(story())


def test_a_rotation_without_grace_ends_the_secret_before_at_once_in_every_process(keys, database) -> None:
    async def story() -> None:
        here, there = KeyRing(database, PEPPER), KeyRing(database, PEPPER)
        key, first = keys.create(MASTER, Wish(display_name="a key", role="viewer"))
        for ring in (here, there):
            await ring.principal(f"Bearer {first}")
        rotated, second = keys.rotate(MASTER, key.id, timedelta())
        here.put(rotated)
        await there.refresh()
        for ring in (here, there):
            with pytest.raises(Unauthenticated):
                await ring.principal(f"Bearer {first}")
            await ring.principal(f"Bearer {second}")

    asyncio.run(story())


def test_a_key_is_rotated_and_ends_over_rest(call, new_key, error) -> None:
    made = call("POST", "/v1/keys", json={"role": "viewer", "ttl": "3600s", "displayName": "app"}).json()
    assert made["key"]["expireTime"] and "ttl" not in made["key"]
    name = made["key"]["name"]
    rotated = call("POST", f"/v1/{name}:rotate", json={"grace": "60s"}).json()
    assert rotated["key"]["formerExpireTime"] and rotated["key"]["prefix"] != made["key"]["prefix"]
    for secret in (made["secret"], rotated["secret"]):
        assert call("GET", "/v1/caller", key=secret).json()["name"] == name
    call("POST", f"/v1/{name}:revoke", json={})
    assert call("GET", "/v1/caller", key=rotated["secret"]).status_code == 401
    assert error(call("POST", f"/v1/{name}:rotate", json={}))["reason"] == "KEY_ENDED"
    assert call("POST", "/v1/keys/nobody:rotate", json={}).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "viewer", "ttl": "0s"}, "key.expire_time"),
        ({"role": "viewer", "expireTime": "2001-01-01T00:00:00Z"}, "key.expire_time"),
        ({"role": "viewer", "expireTime": "9001-01-01T00:00:00Z"}, "key.expire_time"),
        ({"role": "editor", "models": ["projects/shop/models/m"]}, "key.role"),
        ({"role": "viewer", "models": ["projects/shop"]}, "key.models[0]"),
        ({"role": "viewer", "models": ["projects/shop/models/m"], "projects": ["projects/bank"]}, "key.projects"),
    ],
)
def test_a_key_with_a_wrong_end_or_scope_is_refused(call, error, body, field) -> None:
    answer = call("POST", "/v1/keys", json={"displayName": "wrong", **body})
    assert answer.status_code == 400, answer.text
    assert field in error(answer)["fields"]


def test_a_key_of_one_model_predicts_with_it_and_sees_nothing_else(call, world) -> None:
    mine, other = world.champion("scoped"), world.champion("unscoped")
    secret = call("POST", "/v1/keys", json={"role": "viewer", "models": [mine], "displayName": "scoped"}).json()["secret"]
    rows = {"rows": [{"text": "free"}]}
    assert call("POST", f"/v1/{mine}:predict", key=secret, json=rows).status_code == 200
    assert call("GET", f"/v1/{mine}/versions", key=secret).status_code == 200
    assert call("GET", "/v1/caller", key=secret).json()["models"] == [mine]
    loaded = call("GET", "/v1/status", key=secret).json()["loadedModels"]
    assert {one["version"].rpartition("/versions/")[0] for one in loaded} == {mine}
    refused = [
        call("POST", f"/v1/{other}:predict", key=secret, json=rows),
        call("POST", f"/v1/{mine}x:predict", key=secret, json=rows),
        call("GET", "/v1/projects/shop/models", key=secret),
        call("GET", "/v1/projects/shop/datasets/d", key=secret),
    ]
    assert [one.status_code for one in refused] == [403] * 4


def test_nobody_lifts_the_limits_of_the_key_that_they_call_with(call, new_key, error) -> None:
    own = new_key("admin", "shop")
    name = call("GET", "/v1/caller", key=own).json()["name"]
    for path in ("limits", "limits.rows_per_day"):
        lifted = call("PATCH", f"/v1/{name}?update_mask={path}", key=own, json={"limits": {"rowsPerDay": 0}})
        assert lifted.status_code == 403 and "the key that you call with" in error(lifted)["message"]
    assert call("PATCH", f"/v1/{name}?update_mask=display_name", key=own, json={"displayName": "renamed"}).status_code == 200
    for allowed in (new_key("admin", "shop"), None):
        body = {"limits": {"rowsPerDay": 7}}
        assert call("PATCH", f"/v1/{name}?update_mask=limits", key=allowed, json=body).json()["limits"] == {"rowsPerDay": "7"}
    master = new_key("admin")
    mine = call("GET", "/v1/caller", key=master).json()["name"]
    assert call("PATCH", f"/v1/{mine}?update_mask=limits", key=master, json={"limits": {"burst": 9}}).status_code == 200


def test_a_key_for_a_project_or_a_model_that_isnt_there_is_refused(call, error) -> None:
    for scope, missing in (
        ({"projects": ["projects/shop", "projects/nope"]}, "projects/nope"),
        ({"models": ["projects/nope/models/m"]}, "projects/nope"),
        ({"models": ["projects/shop/models/nope"]}, "projects/shop/models/nope"),
    ):
        answer = call("POST", "/v1/keys", json={"role": "viewer", "displayName": "mistyped", **scope})
        assert answer.status_code == 404 and missing in error(answer)["message"], answer.text
    body = {"role": "viewer", "displayName": "early", "models": ["projects/shop/models/nope"]}
    assert call("POST", "/v1/keys?allow_missing_models=true", json=body).status_code == 200


@pytest.mark.parametrize("name", ["", "  ", "red\x1b[31m", "two\nlines", "hid\u202eden"])
def test_a_key_says_what_it_is_for_in_words_that_a_terminal_can_show(call, error, new_key, name) -> None:
    answer = call("POST", "/v1/keys", json={"role": "viewer", "displayName": name})
    assert answer.status_code == 400 and "key.display_name" in error(answer)["fields"]
    own = call("GET", "/v1/caller", key=new_key("viewer", name="Zoë's 👩‍💻 laptop")).json()
    assert own["displayName"] == "Zoë's 👩‍💻 laptop"
    renamed = call("PATCH", f"/v1/{own['name']}?update_mask=display_name", json={"displayName": name})
    assert renamed.status_code == 400 and "key.display_name" in error(renamed)["fields"]
