"""The object store: a port, and the adapter that the settings choose.

`objects_from` is the one place that decides which engine holds the objects; everything else knows only `ObjectStore`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from services.common.objects.directory import DirectoryStore
from services.common.objects.port import DATASETS, MODELS, ObjectInfo, ObjectStore

__all__ = ["DATASETS", "MODELS", "DirectoryStore", "ObjectInfo", "ObjectStore", "objects_from"]


class StoreSettings(Protocol):
    """The part of the settings that is read here."""

    @property
    def data_dir(self) -> Path:
        """The folder that holds everything which the embedded engines keep."""
        ...


def objects_from(settings: StoreSettings) -> ObjectStore:
    """The store that the settings name: a folder under `data_dir`. Raises `EngineUnavailable` where it can't be made."""
    return DirectoryStore(settings.data_dir / "objects")
