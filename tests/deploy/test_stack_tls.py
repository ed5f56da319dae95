"""compose.tls.yaml over compose.yaml: the same services behind certificates, at the public door and among themselves."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import demo_youtube as youtube
import grpc
import pytest
from compose_file import OURS, composed
from stack import Stack, started

from regrow import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack"), composed(tls=True)) as made:
        yield made


def test_a_data_set_goes_in_over_grpc_and_is_read_over_https_by_who_trusts_the_authority(stack: Stack) -> None:
    authority = str(stack.certificates / "ca.pem")
    with Client(stack.hosts["gateway:8081"], stack.key, ca_file=authority) as client:
        youtube.import_comments(client, youtube.comments(training=40, production=5), "spam", gold=range(20))
    request = urllib.request.Request(
        f"https://{stack.hosts['gateway:8080']}/v1/projects/default/datasets", headers={"Authorization": f"Bearer {stack.key}"}
    )
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=authority)) as answer:
        assert [one["name"] for one in json.load(answer)["datasets"]] == ["projects/default/datasets/spam"]
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context())


@pytest.mark.parametrize("name", [name for name in OURS if name != "gateway"])
def test_a_service_lets_in_nobody_without_a_certificate_of_its_authority(name: str, stack: Stack) -> None:
    address = stack.hosts[{"labeling": "labeling:7071", "training": "training:7072", "registry": "registry:7073"}[name]]
    trusted = (stack.certificates / "ca.pem").read_bytes()
    for channel in (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(root_certificates=trusted)),
    ):
        with channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
