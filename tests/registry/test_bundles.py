import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.common.errors import DigestMismatch, FailedPrecondition, InvalidField, NotFound
from services.common.objects import MODELS, ObjectStore
from services.registry.bundles import MANIFEST, key_of, read_verified, verify
from services.registry.models import Part

StoreBundle = Callable[..., str]


def damage(folder: Path, digest: str) -> None:
    """Flips the last byte of an object's file, as a bad disk would."""
    (file,) = (folder / "objects" / MODELS / "sha256").glob(f"{digest.removeprefix('sha256:')}*")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(bytes(content))


def test_a_whole_bundle_is_verified_and_listed_with_the_manifest_first(objects: ObjectStore, store_bundle: StoreBundle) -> None:
    digest = store_bundle(graph=b"12345", weights=b"", twin=b"12345")
    parts = verify(objects, digest)
    assert [(part.name, part.size) for part in parts[1:]] == [("graph", 5), ("weights", 0), ("twin", 5)]
    assert (parts[0].name, parts[0].digest) == (MANIFEST, digest)
    assert b"".join(read_verified(objects, parts[1])) == b"12345"


def test_a_bundle_whose_manifest_or_part_is_not_stored_is_refused(objects: ObjectStore, store_bundle: StoreBundle) -> None:
    with pytest.raises(FailedPrecondition, match="manifest"):
        verify(objects, "sha256:" + "0" * 64)
    missing = store_bundle([{"name": "graph", "digest": "sha256:" + "1" * 64, "size": 5}])
    with pytest.raises(FailedPrecondition, match="'graph'") as told:
        verify(objects, missing)
    assert told.value.reason == "BUNDLE_MISSING"


def test_a_damaged_part_is_found(objects: ObjectStore, store_bundle: StoreBundle, tmp_path: Path) -> None:
    digest = store_bundle(graph=b"12345")
    damage(tmp_path, verify(objects, digest)[1].digest)
    with pytest.raises(DigestMismatch):
        verify(objects, digest)


def test_a_damaged_manifest_is_found(objects: ObjectStore, store_bundle: StoreBundle, tmp_path: Path) -> None:
    digest = store_bundle(graph=b"12345")
    damage(tmp_path, digest)
    with pytest.raises(DigestMismatch):
        verify(objects, digest)


def test_another_object_under_the_digest_of_a_part_is_damage_too(objects: ObjectStore, store_bundle: StoreBundle) -> None:
    digest = store_bundle(graph=b"12345")
    part = verify(objects, digest)[1]
    objects.put(MODELS, key_of(part.digest), b"54321")  # a healthy object of its own, but not this one
    with pytest.raises(DigestMismatch):
        verify(objects, digest)


def test_damaged_bytes_never_arrive_whole(objects: ObjectStore) -> None:
    part = Part(name="weights", digest="sha256:" + "0" * 64, size=3 << 20)
    objects.put(MODELS, key_of(part.digest), b"x" * part.size)
    arrived = 0
    with pytest.raises(DigestMismatch):
        for chunk in read_verified(objects, part):
            arrived += len(chunk)
    assert 0 < arrived < part.size


def test_a_part_that_went_missing_is_told(objects: ObjectStore) -> None:
    with pytest.raises(NotFound):
        next(read_verified(objects, Part(name="graph", digest="sha256:" + "0" * 64, size=1)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{}", b'{"parts": 1}', b'{"parts": [1]}', b'{"parts": [{"name": "a"}]}', b"[" * 100_000,
     json.dumps({"parts": [{"name": "a", "digest": "../../etc", "size": 1}]}).encode(),
     json.dumps({"parts": [{"name": 1, "digest": "sha256:" + "0" * 64, "size": 1}]}).encode()],
)  # fmt: skip
def test_an_object_that_is_no_manifest_is_refused(content: bytes, objects: ObjectStore) -> None:
    digest = objects.put(MODELS, "staged", content).digest
    objects.put(MODELS, key_of(digest), content)
    with pytest.raises(InvalidField, match=r"version\.bundle_digest"):
        verify(objects, digest)


def test_a_manifest_that_lies_about_a_size_is_refused(objects: ObjectStore, store_bundle: StoreBundle) -> None:
    honest = verify(objects, store_bundle(graph=b"12345"))[1]
    with pytest.raises(InvalidField, match="has 5 bytes"):
        verify(objects, store_bundle([{"name": "graph", "digest": honest.digest, "size": 6}], graph=b"12345"))
