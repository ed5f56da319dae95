"""The protocol's messages live beside those of other clients in one process."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = "import services.gateway.oip.stubs.grpc_service_pb2 as ours"
THEIRS = """
from google.protobuf import descriptor_pb2, descriptor_pool
theirs = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package="inference", syntax="proto3")
theirs.message_type.add(name="ServerLiveRequest").field.add(name="x", number=1, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(theirs.SerializeToString())
"""
BOTH_WORK = """
assert not descriptor_pool.Default().FindMessageTypeByName("inference.ServerLiveRequest").fields_by_name["x"].is_repeated
assert ours.ServerReadyResponse.FromString(ours.ServerReadyResponse(ready=True).SerializeToString()).ready
"""


@pytest.mark.parametrize("order", [OURS + THEIRS, THEIRS + OURS])
def test_a_program_may_import_the_gateway_and_another_client_of_the_protocol(order: str) -> None:
    found = subprocess.run([sys.executable, "-c", order + BOTH_WORK], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
