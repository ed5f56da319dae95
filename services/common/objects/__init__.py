"""The object store: a port, and the adapter that the settings choose.

`objects_from` is the one place that decides which engine holds the objects; everything else knows only `ObjectStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from services.common.errors import InvalidField
from services.common.objects.directory import DirectoryStore
from services.common.objects.measured import MeasuredStore
from services.common.objects.port import DATASETS, MODELS, ObjectInfo, ObjectStore
from services.common.settings import CommonSettings

if TYPE_CHECKING:
    from services.common.objects.minio_client import S3Address

__all__ = ["DATASETS", "MODELS", "DirectoryStore", "ObjectInfo", "ObjectStore", "missing_buckets", "objects_from"]


def objects_from(settings: CommonSettings) -> ObjectStore:
    """The store that the settings name: MinIO at `minio_endpoint`, else a folder under `data_dir`.

    Raises `EngineUnavailable` where the folder can't be made, `FailedPrecondition` where MinIO refuses the key, `InvalidField`
    where MinIO's package isn't installed. A MinIO that is away is no error here: calls wait for it.
    """
    if not settings.minio_endpoint:
        return MeasuredStore(DirectoryStore(settings.data_dir / "objects"))
    address = _address(settings)
    from services.common.objects.minio_store import MinioStore

    store = MinioStore(address, spool_dir=settings.data_dir / "spool", bucket_prefix=settings.minio_bucket_prefix)
    return MeasuredStore(store)


def missing_buckets(settings: CommonSettings) -> Sequence[str]:
    """Those of Regrow's buckets that MinIO at `minio_endpoint` doesn't have: all of them before the first start.

    Makes nothing. Raises `EngineUnavailable` where the store is away, and what `objects_from` does.
    """
    address = _address(settings)
    from services.common.objects.minio_store import missing_buckets as missing

    return missing(address, settings.minio_bucket_prefix)


def _address(settings: CommonSettings) -> S3Address:
    if find_spec("minio") is None:
        raise InvalidField("REGROW_MINIO_ENDPOINT", "needs a package that isn't installed. Install 'regrow[minio]'.")
    from services.common.objects.minio_client import S3Address

    return S3Address(
        endpoint=settings.minio_endpoint or "", access_key=settings.minio_access_key,
        secret_key=settings.minio_secret_key.get_secret_value(), region=settings.minio_region,
        ca_file=settings.minio_ca_file, public_endpoint=settings.minio_public_endpoint,
    )  # fmt: skip
