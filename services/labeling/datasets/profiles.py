"""Profiles beside the manifests that they describe: made once, then kept."""

from __future__ import annotations

from services.common.errors import NotFound
from services.common.frames.profile import Profile
from services.common.objects.port import DATASETS, ObjectStore


def keep(objects: ObjectStore, manifest_key: str, profile: Profile) -> None:
    """Stores the profile of a version."""
    objects.put(DATASETS, _key(manifest_key), profile.to_json())


def kept(objects: ObjectStore, manifest_key: str) -> Profile | None:
    """The stored profile of a version, if there is one."""
    try:
        return Profile.from_json(objects.get(DATASETS, _key(manifest_key)))
    except NotFound:
        return None


def _key(manifest_key: str) -> str:
    return manifest_key.replace("/manifests/", "/profiles/")
