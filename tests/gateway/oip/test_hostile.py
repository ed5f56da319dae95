"""What others might send by mistake or on purpose: each is answered in the protocol's shape, soon, and hears nothing of us."""

from __future__ import annotations

import json
import random
import re
import struct
import time

import grpc
import httpx
import numpy as np
import pytest

from services.gateway.oip.stubs import grpc_service_pb2 as oip

MODEL = "shop.oip-hostile"
PATH = f"/v2/models/{MODEL}/infer"
LEAKED = re.compile(r"Traceback|site-packages|services[./]|File \"|object at 0x|Error\(|\.py\b|numpy|orjson")
BIG = 2**62


@pytest.fixture(scope="module", autouse=True)
def model(world) -> None:
    world.champion("oip-hostile")


def tensor(**changes) -> dict:
    return {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"], **changes}


def length(**changes) -> dict:
    return {"name": "length", "datatype": "FP64", "shape": [1], "data": [1], **changes}


def check_told(answer: httpx.Response) -> str:
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, answer.text
    assert list(answer.json()) == ["error"]
    told: str = answer.json()["error"]
    assert 10 < len(told) < 1000 and not LEAKED.search(told), told
    return told


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"inputs": [tensor(datatype="STRING")]}, 400, "inputs[0].datatype"),
        ({"inputs": [tensor(datatype="bytes")]}, 400, "inputs[0].datatype"),
        ({"inputs": [tensor(datatype=["BYTES"])]}, 400, "inputs[0].datatype"),
        ({"inputs": [tensor(shape=[2])]}, 400, "inputs[0].data"),
        ({"inputs": [tensor(shape=[-1])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[0])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[1.0])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[True])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[BIG])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[BIG, BIG])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[1] * 1000)]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(shape=[-1, -1])]}, 400, "inputs[0].shape"),
        ({"inputs": [tensor(data=None)]}, 400, "inputs[0].data"),
        ({"inputs": [tensor(data=[[["deep"]]])]}, 400, "inputs[0].data"),
        ({"inputs": [tensor(data=[{"a": 1}])]}, 400, "inputs[0].data[0]"),
        ({"inputs": [tensor(), length(data=["many"])]}, 400, "inputs[1].data[0]"),
        ({"inputs": [tensor(), length(datatype="UINT8", data=[256])]}, 400, "inputs[1].data[0]"),
        ({"inputs": [tensor(), length(datatype="UINT64", data=[-1])]}, 400, "inputs[1].data[0]"),
        ({"inputs": [tensor(), length(datatype="INT32", data=[1.5])]}, 400, "inputs[1].data[0]"),
        ({"inputs": [tensor(), length(datatype="BOOL", data=[2])]}, 400, "inputs[1].data[0]"),
        ({"inputs": [tensor(), length(shape=[2], data=[1, 2])]}, 400, "inputs[1].shape"),
        ({"inputs": [tensor(), tensor()]}, 400, "inputs[1].name"),
        ({"inputs": [tensor(name="t" * 100_000)]}, 400, "inputs"),
        ({"inputs": [tensor(name=None)]}, 400, "inputs"),
        ({"inputs": {"text": ["win"]}}, 400, "inputs"),
        ({"inputs": [tensor(parameters=[1])]}, 400, "inputs[0].parameters"),
        ({"inputs": [tensor(parameters={"binary_data_size": -1})]}, 400, "binary_data_size"),
        ({"inputs": [tensor(parameters={"binary_data_size": True})]}, 400, "binary_data_size"),
        ({"inputs": [tensor(parameters={"binary_data_size": BIG})]}, 400, "binary_data_size"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "r"})]}, 501, "shared memory"),
        ({"inputs": [tensor()], "outputs": [{"name": "logits"}]}, 400, "outputs[0].name"),
        ({"inputs": [tensor()], "outputs": ["class"]}, 400, "outputs"),
        ({"inputs": [tensor()], "outputs": [{"name": "class", "parameters": {"classification": 1}}]}, 400, "classification"),
        ({"inputs": [tensor()], "outputs": [{"name": "probabilities", "parameters": {"classification": -1}}]}, 400, "classif"),
        ({"inputs": [tensor()], "parameters": {"timeout": "soon"}}, 400, "parameters.timeout"),
        ({"inputs": [tensor()], "parameters": {"timeout": -1}}, 400, "parameters.timeout"),
        ({"inputs": [tensor()], "parameters": "none"}, 400, "parameters"),
        ({"inputs": [tensor()], "id": {"a": 1}}, 400, "id"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_told_by_its_place(call, body, status: int, told: str) -> None:
    answer = call("POST", PATH, json=body)
    assert answer.status_code == status, answer.text
    assert told in check_told(answer)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"inputs":' + "[" * 1000 + "]" * 1000 + "}"])
def test_nesting_without_end_is_refused(call, deep: str) -> None:
    assert call("POST", PATH, content=deep.encode()).status_code == 400


@pytest.mark.parametrize("content", [b'{"inputs": [NaN]}', b"\xff\xfe{}", b'{"id": "\\ud800"}', b"null", b'"text"', b"{} {}"])
def test_what_isnt_json_is_refused(call, content: bytes) -> None:
    assert "body" in check_told(call("POST", PATH, content=content))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e308])
def test_numbers_that_are_none_are_taken_as_missing(ask, number: float) -> None:
    request = oip.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.inputs.add(name="length", datatype="FP64", shape=[1])
    request.raw_input_contents.extend([struct.pack("<I", 3) + b"win", struct.pack("<d", number)])
    answer = ask("ModelInfer", request)
    probabilities = np.frombuffer(answer.raw_output_contents[1], "<f4")
    assert np.isfinite(probabilities).all() and probabilities.sum() == pytest.approx(1)


HEAD = json.dumps({"inputs": [tensor(data=None, parameters={"binary_data_size": 7})]}).encode()
TAIL = struct.pack("<I", 3) + b"win"


@pytest.mark.parametrize(
    ("head", "tail", "length"),
    [
        (HEAD, TAIL, "-1"), (HEAD, TAIL, "1e2"), (HEAD, TAIL, "٣"), (HEAD, TAIL, "9" * 400), (HEAD, TAIL, str(len(HEAD) + 8)),
        (HEAD, TAIL, str(len(HEAD) - 1)), (HEAD, TAIL, "0"), (HEAD, TAIL + b"more", str(len(HEAD))),
        (HEAD, TAIL[:-1], str(len(HEAD))),
        (HEAD, b"\xff\xff\xff\xffwin", str(len(HEAD))), (HEAD, b"\x04\x00\x00\x00win", str(len(HEAD))),
        (HEAD, b"\x02\x00\x00\x00win", str(len(HEAD))), (HEAD, b"\x03\x00\x00\x00\xff\xfe\xfd", str(len(HEAD))),
        (HEAD, b"\x00" * 7, str(len(HEAD))), (HEAD.replace(b"7", b"0"), b"", str(len(HEAD))),
    ],
)  # fmt: skip
def test_lengths_that_lie_are_refused(call, head: bytes, tail: bytes, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length.encode()}
    check_told(call("POST", PATH, content=head + tail, headers=headers))
    good = {"Inference-Header-Content-Length": str(len(HEAD))}
    assert call("POST", PATH, content=HEAD + TAIL, headers=good).status_code == 200


@pytest.mark.parametrize(
    "place",
    [
        "/v2/models/shop.nothing/infer", "/v2/models/nothing/infer", f"/v2/models/{MODEL}/versions/99/infer",
        f"/v2/models/{MODEL}/versions/-1/infer", f"/v2/models/{MODEL}/versions/{'9' * 400}/infer",
        f"/v2/models/{MODEL}/versions/none/infer", "/v2/models/../infer", "/v2/models/%2e%2e%2f/infer",
        "/v2/models/a%00b/infer",
        "/v2/models/%ff/infer", "/v2/models/shop..x/infer", "/v2/models/.x/infer", "/v2/models/shop./infer",
        f"/v2/models/{'m' * 10_000}/infer", "/v2/models/projects%2Fshop%2Fmodels%2Foip-hostile/infer", "/v2/models//infer",
    ],
)  # fmt: skip
def test_models_that_cant_be_are_not_found_or_told_as_wrong(call, place: str) -> None:
    answer = call("POST", place, json={"inputs": [tensor()]})
    assert answer.status_code in (400, 404)
    check_told(answer)


def test_a_body_that_is_too_large_is_refused_before_it_is_read_and_many_tensors_are_answered_soon(call) -> None:
    assert call("POST", PATH, content=b" " * (5 << 20)).status_code == 413
    began = time.monotonic()
    many = [tensor(name=f"t{number}") for number in range(4_000)]
    assert call("POST", PATH, json={"inputs": many}).status_code == 400
    assert call("POST", PATH, json={"inputs": [*many, tensor()]}).status_code == 200
    assert time.monotonic() - began < 15


def test_a_timeout_that_is_too_short_ends_the_call_in_its_own_shape(call) -> None:
    many = {"name": "text", "datatype": "BYTES", "shape": [5000], "data": ["win " * 50] * 5000}
    answer = call("POST", PATH, json={"inputs": [many], "parameters": {"timeout": 1}})
    assert answer.status_code == 504 and "deadline" in answer.json()["error"]


def test_random_damage_to_a_request_never_makes_an_error_of_ours(ask, channel, admin) -> None:
    request = oip.ModelInferRequest(model_name=MODEL, id="x")
    request.inputs.add(name="text", datatype="BYTES", shape=[2])
    request.inputs.add(name="length", datatype="INT16", shape=[2, 1])
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = 1
    request.raw_input_contents.extend([(struct.pack("<I", 3) + b"win") * 2, struct.pack("<2h", 1, 2)])
    good, dice = request.SerializeToString(), random.Random(11)
    stub = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    fine = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}
    codes: dict[str, int] = {}
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        code, told = "OK", ""
        try:
            stub(bytes(damaged), metadata=(("authorization", f"Bearer {admin}"),), timeout=30)
        except grpc.RpcError as error:
            code, told = error.code().name, error.details()
        assert code in fine and not LEAKED.search(told), (code, told, bytes(damaged))
        codes[code] = codes.get(code, 0) + 1
    assert codes["OK"] > 10 and codes["INVALID_ARGUMENT"] > 50
