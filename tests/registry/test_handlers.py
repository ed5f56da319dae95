"""The use cases, one call at a time."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from services.common.database import Database
from services.common.errors import AlreadyExists, EtagMismatch, FailedPrecondition, InvalidField, NotFound, RequestIdReused
from services.common.objects import MODELS, ObjectStore
from services.registry import handlers
from services.registry.bundles import key_of
from services.registry.handlers import Registry
from services.registry.models import NewVersion, Once

TONE = "projects/shop/models/tone"
NewVersions = Callable[..., NewVersion]


def ready(registry: Registry, new_version: NewVersions, versions: int) -> None:
    for _ in range(versions):
        registry.create_version(TONE, new_version())


def move(registry: Registry, version: int, etag: str = "", alias: str = "champion") -> str:
    name, target = f"{TONE}/aliases/{alias}", f"{TONE}/versions/{version}"
    return registry.set_alias(name, target, etag, moved_by="ada", why=f"to {version}").etag


def test_a_new_installation_gets_a_project_and_an_old_one_keeps_its_own(database: Database, objects: ObjectStore) -> None:
    registry = Registry(database, objects)
    for _ in range(2):
        registry.ensure_default_project()
        assert [project.id for project in registry.list_projects(None, 0, "").items] == ["default"]
    registry.create_project("shop", "")
    registry.delete_project("projects/default")
    registry.ensure_default_project()
    assert [project.id for project in registry.list_projects(None, 0, "").items] == ["shop"]


def test_an_id_is_taken_once(registry: Registry) -> None:
    with pytest.raises(AlreadyExists):
        registry.create_project("shop", "")
    with pytest.raises(AlreadyExists):
        registry.create_model("projects/shop", "tone", "")


@pytest.mark.parametrize("wrong", ["", "Shop", "1shop", "a b", "a" * 64, "shop-", "../x", "-"])
def test_an_id_that_fits_nowhere_is_refused(wrong: str, registry: Registry) -> None:
    with pytest.raises(InvalidField):
        registry.create_project(wrong, "")
    with pytest.raises(InvalidField):
        registry.create_model("projects/shop", wrong, "")


def test_what_is_not_there_is_not_found(registry: Registry, new_version: NewVersions) -> None:
    calls = [
        lambda: registry.get_project("projects/none"),
        lambda: registry.delete_project("projects/none"),
        lambda: registry.create_model("projects/none", "tone", ""),
        lambda: registry.list_models("projects/none", 0, ""),
        lambda: registry.get_model("projects/shop/models/none"),
        lambda: registry.create_version("projects/shop/models/none", new_version()),
        lambda: registry.list_versions("projects/shop/models/none", 0, ""),
        lambda: registry.get_version(f"{TONE}/versions/1"),
        lambda: registry.get_version(f"{TONE}/versions/latest"),
        lambda: registry.get_version(f"{TONE}/versions/999999999999"),
        lambda: registry.get_version(f"{TONE}/versions/@champion"),
        lambda: registry.set_alias(f"{TONE}/aliases/champion", f"{TONE}/versions/1", "", moved_by="", why=""),
        lambda: registry.get_alias(f"{TONE}/aliases/champion"),
        lambda: registry.list_aliases("projects/shop/models/none", 0, ""),
        lambda: registry.list_moves(f"{TONE}/aliases/champion", 0, ""),
        lambda: registry.open_artifact(f"{TONE}/versions/1/artifacts/{'0' * 64}"),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()


def test_a_project_with_models_stays(registry: Registry) -> None:
    with pytest.raises(FailedPrecondition):
        registry.delete_project("projects/shop")
    assert registry.get_project("projects/shop").id == "shop"


def test_a_project_that_was_deleted_can_be_made_again_with_the_same_call(registry: Registry) -> None:
    once = Once(request_id="r1", fingerprint="f")
    registry.create_project("toys", "first", once)
    registry.delete_project("projects/toys")
    assert registry.create_project("toys", "second", once).description == "second"


def test_versions_count_from_one_and_show_what_they_were_made_of(registry: Registry, new_version: NewVersions) -> None:
    new = new_version(graph=b"12345")
    scores = {"accuracy": 0.9, "log_loss": float("inf"), "f1": float("nan")}
    first = registry.create_version(
        TONE, NewVersion(bundle_digest=new.bundle_digest, run="projects/shop/runs/7", receipt='{"seed":"7"}', scores=scores)
    )
    second = registry.create_version(TONE, new_version(graph=b"123456"))
    assert (first.number, second.number, registry.get_model(TONE).latest) == (1, 2, 2)
    read = registry.get_version(f"{TONE}/versions/1")
    assert (read.bundle_digest, read.run, read.receipt) == (new.bundle_digest, "projects/shop/runs/7", '{"seed":"7"}')
    assert read.scores["accuracy"] == 0.9
    assert read.scores["log_loss"] == float("inf")
    assert read.scores["f1"] != read.scores["f1"]
    assert read.size == 5 + read.parts[0].size
    assert registry.get_version(f"{TONE}/versions/latest").number == 2
    move(registry, 1)
    assert registry.get_version(f"{TONE}/versions/@champion").number == 1


def test_a_call_that_is_sent_again_registers_nothing_new(registry: Registry, new_version: NewVersions) -> None:
    new, once = new_version(), Once(request_id="run-7", fingerprint="f1")
    first = registry.create_version(TONE, new, once)
    assert registry.create_version(TONE, new, once) == first
    assert registry.get_model(TONE).latest == 1
    with pytest.raises(RequestIdReused):
        registry.create_version(TONE, new, Once(request_id="run-7", fingerprint="f2"))
    registry.create_model("projects/shop", "mood", "")
    assert registry.create_version("projects/shop/models/mood", new, once).number == 1


def test_a_call_that_is_sent_again_succeeds_even_if_the_bundle_is_gone_by_then(
    registry: Registry, new_version: NewVersions, objects: ObjectStore
) -> None:
    new, once = new_version(), Once(request_id="run-7", fingerprint="f1")
    registry.create_version(TONE, new, once)
    objects.delete(MODELS, key_of(new.bundle_digest))
    assert registry.create_version(TONE, new, once).number == 1


def test_creating_projects_and_models_again_answers_the_first(registry: Registry) -> None:
    once = Once(request_id="r", fingerprint="f")
    assert registry.create_project("toys", "", once) == registry.create_project("toys", "", once)
    assert registry.create_model("projects/toys", "mood", "", once) == registry.create_model("projects/toys", "mood", "", once)


def test_a_refused_bundle_uses_up_no_number(registry: Registry, new_version: NewVersions) -> None:
    missing = NewVersion(bundle_digest="sha256:" + "0" * 64, run="", receipt="{}", scores={})
    with pytest.raises(FailedPrecondition):
        registry.create_version(TONE, missing)
    assert registry.create_version(TONE, new_version()).number == 1


def test_an_alias_moves_for_who_knows_where_it_is(registry: Registry, new_version: NewVersions) -> None:
    ready(registry, new_version, 3)
    first = move(registry, 1)
    second = move(registry, 2, first)
    for stale in (first, "", "made-up"):
        with pytest.raises(EtagMismatch):
            move(registry, 3, stale)
    assert move(registry, 2, first) == second, "it is there already: a call that is sent again succeeds"
    champion = registry.get_alias(f"{TONE}/aliases/champion")
    assert (champion.version, champion.etag) == (2, second)
    assert champion.bundle_digest == registry.get_version(f"{TONE}/versions/2").bundle_digest
    assert registry.get_model(TONE).aliases == (champion,)


def test_an_alias_needs_a_version_of_its_own_model_by_number(registry: Registry, new_version: NewVersions) -> None:
    ready(registry, new_version, 1)
    registry.create_model("projects/shop", "mood", "")
    for version in (f"{TONE}/versions/latest", f"{TONE}/versions/@x", "projects/shop/models/mood/versions/1", "1", ""):
        with pytest.raises(InvalidField, match="version"):
            registry.set_alias(f"{TONE}/aliases/champion", version, "", moved_by="", why="")
    for wrong in ("latest", "Champion", "a" * 64):
        with pytest.raises(InvalidField, match="name"):
            move(registry, 1, alias=wrong)


def test_history_tells_every_move_and_where_the_alias_was_at_any_time(registry: Registry, new_version: NewVersions) -> None:
    ready(registry, new_version, 3)
    etag = move(registry, 1)
    etag = move(registry, 3, etag)
    move(registry, 3, "whatever")
    move(registry, 2, etag)
    name = f"{TONE}/aliases/champion"
    moves = registry.list_moves(name, 0, "").items
    assert [(m.from_version, m.to_version, m.moved_by, m.why) for m in moves] == [
        (3, 2, "ada", "to 2"), (1, 3, "ada", "to 3"), (0, 1, "ada", "to 1")
    ]  # fmt: skip
    for made in moves:
        then = registry.get_alias(name, made.moved)
        assert (then.version, then.moved) == (made.to_version, made.moved)
        assert then.bundle_digest == registry.get_version(f"{TONE}/versions/{made.to_version}").bundle_digest
        before = made.moved - timedelta(microseconds=1)
        if made.from_version:
            assert registry.get_alias(name, before).version == made.from_version
        else:
            with pytest.raises(NotFound, match="did not exist"):
                registry.get_alias(name, before)
    assert registry.get_alias(name, moves[0].moved + timedelta(days=1)) == registry.get_alias(name)


def test_lists_come_in_pages_that_fit_together(registry: Registry, new_version: NewVersions) -> None:
    registry.create_project("a-first", "")
    registry.create_model("projects/a-first", "tone", "")
    registry.create_model("projects/shop", "a-mood", "")
    ready(registry, new_version, 3)
    etag = ""
    for version in (1, 2, 3):
        etag = move(registry, version, etag)
        move(registry, 1, alias=f"candidate-{version}")

    def pages(call: Callable[[int, str], handlers.Listing[object]]) -> list[object]:
        found, token = [], ""
        while True:
            listing = call(2, token)
            found += listing.items
            assert len(listing.items) <= 2
            if not (token := listing.next_token):
                return found

    def names(items: list[object]) -> list[str]:
        return [item.ref.name for item in items]  # type: ignore[attr-defined]

    models = ["projects/a-first/models/tone", "projects/shop/models/a-mood", TONE]
    assert names(pages(lambda size, token: registry.list_models("projects/-", size, token))) == models  # type: ignore[arg-type]
    assert names(pages(lambda size, token: registry.list_models("projects/shop", size, token))) == models[1:]  # type: ignore[arg-type]
    aliases = [f"{TONE}/aliases/{alias}" for alias in ("candidate-1", "candidate-2", "candidate-3", "champion")]
    for parent in (TONE, "projects/-/models/-"):
        assert names(pages(lambda size, token: registry.list_aliases(parent, size, token))) == aliases  # type: ignore[arg-type] # noqa: B023
    versions = pages(lambda size, token: registry.list_versions(TONE, size, token))  # type: ignore[arg-type]
    assert [version.number for version in versions] == [3, 2, 1]  # type: ignore[attr-defined]
    moves = pages(lambda size, token: registry.list_moves(f"{TONE}/aliases/champion", size, token))  # type: ignore[arg-type]
    assert [one.to_version for one in moves] == [3, 2, 1]  # type: ignore[attr-defined]
    projects = pages(lambda size, token: registry.list_projects(frozenset({"shop", "other"}), size, token))  # type: ignore[arg-type]
    assert [project.id for project in projects] == ["shop"]  # type: ignore[attr-defined]


def test_a_token_of_another_list_is_refused(registry: Registry, new_version: NewVersions) -> None:
    ready(registry, new_version, 2)
    token = registry.list_versions(TONE, 1, "").next_token
    registry.create_model("projects/shop", "mood", "")
    with pytest.raises(InvalidField, match="page_token"):
        registry.list_versions("projects/shop/models/mood", 1, token)
    with pytest.raises(InvalidField, match="page_token"):
        registry.list_projects(None, 1, token)


def test_a_page_of_large_receipts_ends_early_so_that_it_fits_in_a_message(
    registry: Registry, new_version: NewVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.registry.storage._MOST_RECEIPT_BYTES", 1000)
    digest = new_version().bundle_digest
    for _ in range(3):
        registry.create_version(TONE, NewVersion(bundle_digest=digest, run="", receipt=f'"{"x" * 600}"', scores={}))
    first = registry.list_versions(TONE, 50, "")
    assert [version.number for version in first.items] == [3]
    second = registry.list_versions(TONE, 50, first.next_token)
    assert [version.number for version in second.items] == [2]
    assert [version.number for version in registry.list_versions(TONE, 50, second.next_token).items] == [1]


def test_an_artifact_is_handed_out_to_who_names_a_version_that_has_it(registry: Registry, new_version: NewVersions) -> None:
    registry.create_version(TONE, new_version(graph=b"old"))
    registry.create_version(TONE, new_version(graph=b"new"))
    old = registry.get_version(f"{TONE}/versions/1").parts[1]
    hexadecimal = old.digest.removeprefix("sha256:")
    part, chunks = registry.open_artifact(f"{TONE}/versions/1/artifacts/{hexadecimal}")
    assert (part, b"".join(chunks)) == (old, b"old")
    with pytest.raises(NotFound, match="artifact"):
        registry.open_artifact(f"{TONE}/versions/2/artifacts/{hexadecimal}")
    with pytest.raises(InvalidField):
        registry.open_artifact(f"{TONE}/versions/2")
