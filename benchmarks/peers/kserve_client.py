"""Every public method of KServe's two inference clients against a gateway, in a process and environment of its own.

    python kserve_client.py <http host:port> <grpc host:port> <key> <model>      prints JSON: client -> method -> outcome

Run by `clients.py`. Not in one process with tritonclient: both define the same protobuf symbols.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.errors import UnsupportedProtocol
from kserve.inference_client import RESTConfig
from trying import outcomes, tell

HTTP, GRPC, KEY, MODEL = sys.argv[1:5]
BASE = f"http://{HTTP}"
HEADERS = {"authorization": f"Bearer {KEY}"}
METADATA = (("authorization", f"Bearer {KEY}"),)
EXCLUDED = {"explain": "of KServe's older protocol v1 alone: the client itself refuses it for v2"}


def request(*, binary: bool) -> InferRequest:
    text, length = InferInput("text", [2], "BYTES"), InferInput("length", [2], "FP64")
    text.set_data_from_numpy(np.array([b"win a free lunch, win", b"lunch meeting"], dtype=np.object_), binary_data=binary)
    length.set_data_from_numpy(np.array([21, 13], dtype=np.float64), binary_data=binary)
    return InferRequest(model_name=MODEL, infer_inputs=[text, length], request_id="mine")


def check_response(response: Any) -> None:
    found = {output.name: output for output in response.outputs}
    classes = [one.decode() if isinstance(one, bytes) else one for one in found["class"].as_numpy().tolist()]
    assert classes == ["spam", "ham"], classes
    assert np.allclose(found["probabilities"].as_numpy().sum(axis=1), 1, atol=1e-5)
    ids = response.parameters["prediction_ids"]
    assert len(getattr(ids, "string_param", ids).split(",")) == 2
    assert (response.model_name, response.id) == (MODEL, "mine")


class Rest:
    def __init__(self, client: InferenceRESTClient) -> None:
        self.client = client

    async def try_infer(self) -> None:
        for binary in (False, True):
            check_response(await self.client.infer(BASE, request(binary=binary), model_name=MODEL, headers=HEADERS))

    async def try_is_server_live(self) -> None:
        assert await self.client.is_server_live(BASE)

    async def try_is_server_ready(self) -> None:
        assert await self.client.is_server_ready(BASE)

    async def try_is_model_ready(self) -> None:
        assert await self.client.is_model_ready(BASE, MODEL, headers=HEADERS)
        assert not await self.client.is_model_ready(BASE, "shop.nothing", headers=HEADERS)

    async def try_close(self) -> None:
        await self.client.close()


class Grpc:
    def __init__(self, client: InferenceGRPCClient) -> None:
        self.client = client

    async def try_infer(self) -> None:
        for binary in (False, True):
            check_response(await self.client.infer(request(binary=binary), headers=METADATA))

    async def try_is_server_live(self) -> None:
        assert await self.client.is_server_live()

    async def try_is_server_ready(self) -> None:
        assert await self.client.is_server_ready()

    async def try_is_model_ready(self) -> None:
        assert await self.client.is_model_ready(MODEL, headers=METADATA)
        assert not await self.client.is_model_ready("shop.nothing", headers=METADATA)

    async def try_close(self) -> None:
        await self.client.close()


async def main() -> None:
    rest, grpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(GRPC)

    async def refused(method: str) -> None:
        try:
            await getattr(rest, method)(BASE, MODEL, {}, headers=HEADERS)
        except UnsupportedProtocol:
            return
        raise AssertionError("it was not refused")

    tell({
        "kserve InferenceRESTClient": await outcomes(InferenceRESTClient, Rest(rest), EXCLUDED, refused),
        "kserve InferenceGRPCClient": await outcomes(InferenceGRPCClient, Grpc(grpc), {}, refused),
    })  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
