"""A labeling service on real engines, called over gRPC. One serves a whole file of tests; each test finds it empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from regrow.labeling.v1 import datasets_pb2 as pb
from regrow.labeling.v1.datasets_pb2_grpc import DatasetServiceStub
from services.common.objects import DATASETS, DirectoryStore
from services.common.rpc.client import internal_channel
from services.labeling.app import start
from services.labeling.settings import LabelingSettings

ImportContent = Callable[..., pb.Dataset]

TABLE = b"id,text,age,joined\n" + b"".join(
    b"%d,person number %d likes long walks,%d,2026-01-%02d\n" % (i + 100, i, i % 40, i % 28 + 1) for i in range(50)
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LabelingSettings:
    return LabelingSettings(
        data_dir=tmp_path_factory.mktemp("labeling"),
        labeling_address="127.0.0.1:0",
        internal_token="secret",
        most_import_bytes=32 << 20,
    )


@pytest.fixture(scope="module")
def running(settings: LabelingSettings) -> Iterator[DatasetServiceStub]:
    server = start(settings)
    channel = internal_channel(f"127.0.0.1:{server.port}", token="secret", service="labeling")
    yield DatasetServiceStub(channel)
    channel.close()
    server.stop(0)


@pytest.fixture
def service(running: DatasetServiceStub) -> Iterator[DatasetServiceStub]:
    yield running
    for dataset in running.ListDatasets(pb.ListDatasetsRequest(parent="projects/shop")).datasets:
        running.DeleteDataset(pb.DeleteDatasetRequest(name=dataset.name, force=True))


@pytest.fixture
def import_content(service: DatasetServiceStub) -> ImportContent:
    def call(content: bytes = TABLE, dataset_id: str = "people", *, chunk: int = 1 << 16, **fields: object) -> pb.Dataset:
        pieces = [content[i : i + chunk] for i in range(0, len(content), chunk)]
        first = pb.ImportDatasetRequest(parent="projects/shop", dataset_id=dataset_id, **fields)
        return service.ImportDataset(iter([first, *(pb.ImportDatasetRequest(content=piece) for piece in pieces)]))

    return call


@pytest.fixture
def left_behind(settings: LabelingSettings) -> Callable[[], list[str]]:
    """What lies in the object store and in the scratch folder."""

    def look() -> list[str]:
        objects = [found.key for found in DirectoryStore(settings.data_dir / "objects").list(DATASETS)]
        return objects + [str(path) for path in settings.scratch.glob("*")]

    return look
