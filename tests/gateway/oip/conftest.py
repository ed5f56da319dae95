"""The protocol's own messages over the gateway's channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from services.gateway.oip.methods import SERVICE, inference_methods


@pytest.fixture(scope="session")
def channel(gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as made:
        yield made


@pytest.fixture
def ask(channel, admin) -> Callable[..., Any]:
    """`ask("ModelInfer", request)`: one call, with the admin's key unless told; `with_call=True` gives the call too."""

    def call(name: str, request: Any, *, key: str | None = None, with_call: bool = False, **options: Any) -> Any:
        method = inference_methods()[f"/{SERVICE}/{name}"]
        stub = channel.unary_unary(
            method.path, request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=method.response.FromString,
        )  # fmt: skip
        metadata = (("authorization", f"Bearer {admin if key is None else key}"),) if key != "" else ()
        answer, made = stub.with_call(request, metadata=metadata, timeout=30, **options)
        return (answer, made) if with_call else answer

    return call
