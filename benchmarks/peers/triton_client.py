"""Every public method of tritonclient's four clients against a gateway, in a process and environment of its own.

    python triton_client.py <http host:port> <grpc host:port> <key> <model>      prints JSON: client -> method -> outcome

Run by `clients.py`. The model reads a text and a number, version 1 is its champion, and version 2 exists.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import queue
import sys
import urllib.request

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException
from trying import outcomes, tell

HTTP, GRPC, KEY, MODEL = sys.argv[1:5]
TEXTS, LENGTHS = np.array([b"win a free lunch, win", b"lunch meeting"], dtype=np.object_), np.array([21, 13], dtype=np.float64)
SECOND = json.dumps({"version_policy": {"specific": {"versions": [2]}}})

_SHARED_MEMORY = "the gateway shares no memory with its callers; elements are sent in the request"
EXCLUDED = {
    "get_system_shared_memory_status": _SHARED_MEMORY,
    "register_system_shared_memory": _SHARED_MEMORY,
    "unregister_system_shared_memory": _SHARED_MEMORY,
    "get_cuda_shared_memory_status": _SHARED_MEMORY,
    "register_cuda_shared_memory": _SHARED_MEMORY,
    "unregister_cuda_shared_memory": _SHARED_MEMORY,
    "get_trace_settings": "tracing is set where the gateway is started, by OpenTelemetry's settings",
    "update_trace_settings": "tracing is set where the gateway is started, by OpenTelemetry's settings",
    "get_log_settings": "logging is set where the gateway is started, by REGROW_LOG_LEVEL",
    "update_log_settings": "logging is set where the gateway is started, by REGROW_LOG_LEVEL",
}
"""Methods that have no meaning here, by reason. Each is called all the same: it must be refused as UNIMPLEMENTED, or 501."""
ARGUMENTS = {
    "register_system_shared_memory": ("region", "/key", 64),
    "register_cuda_shared_memory": ("region", b"aGFuZGxl", 0, 64),
    "update_log_settings": ({"log_verbose_level": 1},),
}


def own_headers():
    """Made for each call: the http clients write theirs into what they are given."""
    return {"authorization": f"Bearer {KEY}"}


def infer_inputs(module, *, binary=None):
    text, length = module.InferInput("text", [2], "BYTES"), module.InferInput("length", [2], "FP64")
    options = {} if binary is None else {"binary_data": binary}
    text.set_data_from_numpy(TEXTS, **options)
    length.set_data_from_numpy(LENGTHS, **options)
    return [text, length]


def check_result(result):
    assert result.as_numpy("class").tolist() == [b"spam", b"ham"] or result.as_numpy("class").tolist() == ["spam", "ham"]
    probabilities = result.as_numpy("probabilities")
    assert probabilities.shape == (2, 2) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(set(result.as_numpy("prediction_id").tolist())) == 2
    response = result.get_response()
    named = response["model_name"] if isinstance(response, dict) else response.model_name
    assert named == MODEL


def as_plain(answer):
    """What http clients answer as a dict, grpc clients answer as a message with these fields."""
    if isinstance(answer, dict | list):
        return answer
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer, preserving_proto_field_name=True)


async def maybe(value):
    """The value of a call, whether it is one of asyncio's or not."""
    return await value if inspect.isawaitable(value) else value


class Trial:
    """One client: `try_<method>` for each method that it has."""

    def __init__(self, module, client):
        self.module, self.client = module, client
        self.is_http = "http" in module.__name__

    async def try_is_server_live(self):
        assert await maybe(self.client.is_server_live())

    async def try_is_server_ready(self):
        assert await maybe(self.client.is_server_ready())

    async def try_is_model_ready(self):
        assert await maybe(self.client.is_model_ready(MODEL, headers=own_headers()))
        assert await maybe(self.client.is_model_ready(MODEL, "1", headers=own_headers()))
        assert not await maybe(self.client.is_model_ready("shop.nothing", headers=own_headers()))

    async def try_get_server_metadata(self):
        found = as_plain(await maybe(self.client.get_server_metadata(headers=own_headers())))
        assert found["name"] == "regrow" and {"classification", "binary_tensor_data", "feedback"} <= set(found["extensions"])

    async def try_get_model_metadata(self):
        found = as_plain(await maybe(self.client.get_model_metadata(MODEL, headers=own_headers())))
        assert [one["name"] for one in found["inputs"]] == ["text", "length"]
        assert "1" in found["versions"]
        try:
            await maybe(self.client.get_model_metadata("shop.nothing", headers=own_headers()))
        except InferenceServerException as error:
            assert "nothing" in str(error)
        else:
            raise AssertionError("a model that doesn't exist was described")

    async def try_get_model_config(self):
        found = as_plain(await maybe(self.client.get_model_config(MODEL, headers=own_headers())))
        found = found.get("config", found)
        assert found["parameters"]["most_rows"]["string_value"] == "10000" and json.loads(
            found["parameters"]["classes"]["string_value"]
        ) == [
            "ham",
            "spam",
        ]

    async def try_get_model_repository_index(self):
        found = as_plain(await maybe(self.client.get_model_repository_index(headers=own_headers())))
        rows = found if isinstance(found, list) else found["models"]
        assert any((one["name"], one["version"], one["state"]) == (MODEL, "1", "READY") for one in rows)

    async def try_load_model(self):
        await maybe(self.client.load_model(MODEL, headers=own_headers()))
        await maybe(self.client.load_model(MODEL, headers=own_headers(), config=SECOND))
        assert await maybe(self.client.is_model_ready(MODEL, "2", headers=own_headers()))
        try:
            await maybe(self.client.load_model(MODEL, headers=own_headers(), config="{}", files={"file:1/model.onnx": b"x"}))
        except InferenceServerException as error:
            assert "files can't be sent" in str(error)
        else:
            raise AssertionError("a file was taken")

    async def try_unload_model(self):
        await maybe(self.client.load_model(MODEL, headers=own_headers(), config=SECOND))
        await maybe(self.client.unload_model(MODEL, headers=own_headers()))
        assert not await maybe(self.client.is_model_ready(MODEL, "2", headers=own_headers()))
        assert await maybe(self.client.is_model_ready(MODEL, headers=own_headers()))

    async def try_get_inference_statistics(self):
        await maybe(self.client.infer(MODEL, infer_inputs(self.module), headers=own_headers()))
        found = as_plain(await maybe(self.client.get_inference_statistics(MODEL, headers=own_headers())))["model_stats"]
        assert int(found[0]["inference_count"]) >= 2 and int(found[0]["inference_stats"]["success"]["count"]) >= 1
        assert as_plain(await maybe(self.client.get_inference_statistics(headers=own_headers())))["model_stats"]

    async def try_infer(self):
        outputs = [self.module.InferRequestedOutput(name) for name in ("class", "probabilities", "prediction_id")]
        check_result(await maybe(self.client.infer(MODEL, infer_inputs(self.module), headers=own_headers())))
        result = await maybe(
            self.client.infer(
                MODEL, infer_inputs(self.module), model_version="1", outputs=outputs, request_id="mine", headers=own_headers(),
                sequence_id=7, sequence_start=True, sequence_end=True, priority=1, timeout=20_000_000, parameters={"own": "x"},
            )
        )  # fmt: skip
        check_result(result)
        counted = self.module.InferRequestedOutput("probabilities", class_count=1)
        result = await maybe(self.client.infer(MODEL, infer_inputs(self.module), outputs=[counted], headers=own_headers()))
        named = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("probabilities").ravel().tolist()]
        assert [one.rpartition(":")[2] for one in named] == ["spam", "ham"]
        squeezed = (
            ["request_compression_algorithm", "response_compression_algorithm"] if self.is_http else ["compression_algorithm"]
        )
        for algorithm in ("gzip", "deflate"):
            options = dict.fromkeys(squeezed, algorithm)
            check_result(await maybe(self.client.infer(MODEL, infer_inputs(self.module), headers=own_headers(), **options)))
        if self.is_http:
            plain = [self.module.InferRequestedOutput(one.name(), binary_data=False) for one in outputs]
            inputs = infer_inputs(self.module, binary=False)
            check_result(await maybe(self.client.infer(MODEL, inputs, outputs=plain, headers=own_headers())))
        try:
            await maybe(self.client.infer(MODEL, infer_inputs(self.module)[:1], headers={"authorization": "Bearer wrong"}))
        except InferenceServerException as error:
            assert "API key" in str(error)
        else:
            raise AssertionError("a wrong key predicted")

    async def try_async_infer(self):
        if self.is_http:
            check_result(self.client.async_infer(MODEL, infer_inputs(self.module), headers=own_headers()).get_result())
            return
        found = queue.Queue()
        self.client.async_infer(
            MODEL, infer_inputs(self.module), callback=lambda result, error: found.put((result, error)), headers=own_headers()
        )
        result, error = found.get(timeout=30)
        assert error is None, error
        check_result(result)

    async def try_start_stream(self):
        found = queue.Queue()
        self.client.start_stream(callback=lambda result, error: found.put((result, error)), headers=own_headers())
        self.client.async_stream_infer(MODEL, infer_inputs(self.module), request_id="a", enable_empty_final_response=True)
        self.client.async_stream_infer("shop.nothing", infer_inputs(self.module), request_id="b")
        self.client.async_stream_infer(MODEL, infer_inputs(self.module), request_id="c")
        answers = [found.get(timeout=30) for _ in range(3)]
        self.client.stop_stream()
        assert [error is None for _, error in answers] == [True, False, True], answers
        assert [answers[i][0].get_response().id for i in (0, 2)] == ["a", "c"]
        assert answers[0][0].get_response().parameters["triton_final_response"].bool_param
        check_result(answers[2][0])

    try_async_stream_infer = try_start_stream
    try_stop_stream = try_start_stream

    async def try_stream_infer(self):
        async def requests():
            for number in range(3):
                yield {"model_name": MODEL, "inputs": infer_inputs(self.module), "request_id": str(number)}

        answers = [answer async for answer in self.client.stream_infer(requests(), headers=own_headers())]
        assert [result.get_response().id for result, _ in answers] == ["0", "1", "2"]
        for result, error in answers:
            assert error is None
            check_result(result)

    async def try_generate_request_body(self):
        body, length = self.client.generate_request_body(infer_inputs(self.module))
        assert json.loads(body[:length])["inputs"][0]["name"] == "text"

    async def try_parse_response_body(self):
        body, length = self.client.generate_request_body(infer_inputs(self.module))
        content, length = await asyncio.to_thread(posted, body, length)
        check_result(self.client.parse_response_body(content, header_length=length))

    async def try_register_plugin(self):
        class Key(InferenceServerClientPlugin):
            def __call__(self, request):
                request.headers["authorization"] = own_headers()["authorization"]

        assert self.client.plugin() is None
        self.client.register_plugin(Key())
        assert isinstance(self.client.plugin(), Key)
        assert as_plain(await maybe(self.client.get_server_metadata()))["name"] == "regrow"
        self.client.unregister_plugin()
        assert self.client.plugin() is None

    try_plugin = try_register_plugin
    try_unregister_plugin = try_register_plugin

    async def try_close(self):
        await maybe(self.client.close())

    async def refused(self, method):
        await unimplemented(lambda: getattr(self.client, method)(*ARGUMENTS.get(method, ()), headers=own_headers()))


class Tensors:
    """What a request is made of and what an answer is read with: `InferInput`, `InferRequestedOutput`, `InferResult`."""

    def __init__(self, module, client):
        self.module, self.client = module, client

    def infer(self, inputs=None, outputs=None):
        return self.client.infer(MODEL, inputs or infer_inputs(self.module), outputs=outputs, headers=own_headers())

    async def try_set_data_from_numpy(self):
        check_result(self.infer())

    async def try_set_shape(self):
        inputs = infer_inputs(self.module)
        for one in inputs:
            one.set_shape([2, 1])
            one.set_data_from_numpy((TEXTS if one.name() == "text" else LENGTHS).reshape(2, 1))
            assert one.shape() == [2, 1]
        check_result(self.infer(inputs))

    async def try_name(self):
        text, length = infer_inputs(self.module)
        assert (text.name(), length.name(), text.datatype(), list(length.shape())) == ("text", "length", "BYTES", [2])
        assert self.module.InferRequestedOutput("class").name() == "class"

    try_datatype = try_shape = try_name

    async def try_unset_shared_memory(self):
        outputs = [self.module.InferRequestedOutput(name) for name in ("class", "probabilities", "prediction_id")]
        for one in outputs:
            one.set_shared_memory("region", 64)
            one.unset_shared_memory()
        check_result(self.infer(outputs=outputs))

    async def try_as_numpy(self):
        result = self.infer()
        check_result(result)
        assert result.as_numpy("nothing") is None

    try_get_response = try_as_numpy

    async def try_get_output(self):
        output = as_plain(self.infer().get_output("probabilities"))
        assert (output["name"], output["datatype"], [int(one) for one in output["shape"]]) == ("probabilities", "FP32", [2, 2])

    async def try_from_response_body(self):
        await Trial(self.module, self.client).try_parse_response_body()  # which is this, by its other name

    async def refused(self, method):
        text, length = infer_inputs(self.module)
        output = self.module.InferRequestedOutput("class")
        for inputs, outputs, one in [([text, length], None, text), (infer_inputs(self.module), [output], output)]:
            getattr(one, method)("region", 64)
            await unimplemented(lambda inputs=inputs, outputs=outputs: self.infer(inputs, outputs))


def posted(body, length):
    """What the gateway answers to a body that a client made, and the length of its JSON."""
    headers = {**own_headers(), "Inference-Header-Content-Length": str(length)}
    request = urllib.request.Request(f"http://{HTTP}/v2/models/{MODEL}/infer", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read(), int(response.headers["Inference-Header-Content-Length"])


async def unimplemented(call):
    """Fails unless the call is refused as UNIMPLEMENTED, which is 501 over HTTP."""
    try:
        await maybe(call())
    except InferenceServerException as error:
        assert error.status() in ("StatusCode.UNIMPLEMENTED", "501"), error
    else:
        raise AssertionError("it was not refused")


async def main():
    clients = {
        "grpc": (triton_grpc, lambda: triton_grpc.InferenceServerClient(GRPC)),
        "http": (triton_http, lambda: triton_http.InferenceServerClient(HTTP)),
        "grpc.aio": (triton_grpc_aio, lambda: triton_grpc_aio.InferenceServerClient(GRPC)),
        "http.aio": (triton_http_aio, lambda: triton_http_aio.InferenceServerClient(HTTP)),
    }
    found = {}
    for name, (module, connect) in clients.items():
        trial = Trial(module, connect())
        found[f"tritonclient.{name} InferenceServerClient"] = await outcomes(type(trial.client), trial, EXCLUDED, trial.refused)
        if name.endswith("aio"):
            continue  # its tensors are those of the other
        tensors = Tensors(module, connect())
        for owner in (module.InferInput, module.InferRequestedOutput, module.InferResult):
            excluded = {"set_shared_memory": _SHARED_MEMORY} if hasattr(owner, "set_shared_memory") else {}
            found[f"tritonclient.{name} {owner.__name__}"] = await outcomes(owner, tensors, excluded, tensors.refused)
        tensors.client.close()
    tell(found)


if __name__ == "__main__":
    asyncio.run(main())
