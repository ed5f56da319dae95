"""Inference over REST and gRPC: tensors of every kind in, decided classes, probabilities and ids out."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from datetime import timedelta

import grpc
import numpy as np
import pytest

from regrow.events.v1 import events_pb2
from services.common.events import PREDICTIONS, events_from
from services.common.spec import Task
from services.gateway.oip.stubs import grpc_service_pb2 as oip

TEXTS = ["win a free lunch, win", "lunch meeting"]


def raw_texts(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def grpc_request(name: str, *, raw: bool = True, **changes) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=name, id="mine", **changes)
    text = request.inputs.add(name="text", datatype="BYTES", shape=[2])
    length = request.inputs.add(name="length", datatype="FP64", shape=[2, 1])
    if raw:
        request.raw_input_contents.extend([raw_texts(*TEXTS), struct.pack("<2d", 21, 13)])
    else:
        text.contents.bytes_contents.extend(one.encode() for one in TEXTS)
        length.contents.fp64_contents.extend([21, 13])
    return request


def json_request(**changes) -> dict:
    inputs = [
        {"name": "text", "datatype": "BYTES", "shape": [2], "data": TEXTS},
        {"name": "length", "datatype": "FP64", "shape": [2, 1], "data": [[21], [13]]},
    ]
    return {"id": "mine", "inputs": inputs, **changes}


def by_name(answer: dict) -> dict:
    return {output["name"]: output for output in answer["outputs"]}


def test_rest_answers_classes_probabilities_and_ids_of_every_row(call, world) -> None:
    world.champion("oip-rest")
    answer = call("POST", "/v2/models/shop.oip-rest/infer", json=json_request())
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("shop.oip-rest", "1", "mine")
    found = by_name(body)
    assert found["class"] == {"name": "class", "datatype": "BYTES", "shape": [2], "data": ["spam", "ham"]}
    assert found["probabilities"]["shape"] == [2, 2]
    probabilities = np.array(found["probabilities"]["data"]).reshape(2, 2)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5) and probabilities[0, 1] > 0.5 > probabilities[1, 1]
    assert body["parameters"]["prediction_ids"].split(",") == found["prediction_id"]["data"]
    assert body["parameters"]["version"] == "projects/shop/models/oip-rest/versions/1"


@pytest.mark.parametrize("raw", [True, False])
def test_grpc_answers_raw_contents_raw_and_typed_ones_typed(ask, world, raw: bool) -> None:
    world.champion(f"oip-grpc-{int(raw)}")
    answer, made = ask("ModelInfer", grpc_request(f"shop.oip-grpc-{int(raw)}", raw=raw), with_call=True)
    assert (answer.id, answer.model_version) == ("mine", "1")
    assert [(one.name, one.datatype, list(one.shape)) for one in answer.outputs] == [
        ("class", "BYTES", [2]), ("probabilities", "FP32", [2, 2]), ("prediction_id", "BYTES", [2]),
    ]  # fmt: skip
    ids = answer.parameters["prediction_ids"].string_param
    if raw:
        assert answer.raw_output_contents[0] == raw_texts("spam", "ham")
        assert np.frombuffer(answer.raw_output_contents[1], "<f4").reshape(2, 2).sum() == pytest.approx(2)
        assert answer.raw_output_contents[2] == raw_texts(*ids.split(","))
    else:
        assert list(answer.outputs[0].contents.bytes_contents) == [b"spam", b"ham"]
        assert sum(answer.outputs[1].contents.fp32_contents) == pytest.approx(2)
    trailers = dict(made.trailing_metadata())
    assert trailers["regrow-prediction-ids"] == ids
    assert trailers["regrow-model-version"].endswith("/versions/1")
    assert "x-request-id" in trailers


def test_binary_tensors_come_and_go_behind_the_json(call, world) -> None:
    world.champion("oip-binary")
    texts, lengths = raw_texts(*TEXTS), struct.pack("<2f", 21, 13)
    head = json.dumps({
        "inputs": [
            {"name": "text", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(texts)}},
            {"name": "length", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": len(lengths)}},
        ],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "class"}],
    }).encode()  # fmt: skip
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = call("POST", "/v2/models/shop.oip-binary/infer", content=head + texts + lengths, headers=headers)
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    body = json.loads(answer.content[:length])
    assert [one["name"] for one in body["outputs"]] == ["probabilities", "class"]
    assert body["outputs"][0]["parameters"]["binary_data_size"] == 16 == len(answer.content) - length
    assert np.frombuffer(answer.content[length:], "<f4").reshape(2, 2).argmax(axis=1).tolist() == [1, 0]
    assert body["outputs"][1]["data"] == ["spam", "ham"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_may_be_compressed_and_a_bomb_is_refused(call, world, encoding: str) -> None:
    world.champion(f"oip-{encoding}")
    squeeze = gzip.compress if encoding == "gzip" else zlib.compress
    path, headers = f"/v2/models/shop.oip-{encoding}/infer", {"content-encoding": encoding}
    many = {"name": "text", "datatype": "BYTES", "shape": [300], "data": ["win"] * 300}
    answer = call("POST", path, content=squeeze(json.dumps({"inputs": [many]}).encode()), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-encoding"] == "gzip"  # what httpx accepts first
    assert len(by_name(answer.json())["class"]["data"]) == 300
    assert "prediction_ids" not in answer.json()["parameters"]
    bomb = call("POST", path, content=squeeze(b" " * (64 << 20)), headers=headers)
    assert bomb.status_code == 413
    assert call("POST", path, content=squeeze(b"{}" * 900)[:-9], headers=headers).status_code == 400
    assert call("POST", path, content=b"plain", headers=headers).status_code == 400


def test_only_wanted_outputs_are_answered_and_classes_as_triton_writes_them(call, ask, world) -> None:
    world.champion("oip-wanted")
    wanted = [{"name": "probabilities", "parameters": {"classification": 1}}]
    body = call("POST", "/v2/models/shop.oip-wanted/infer", json=json_request(outputs=wanted)).json()
    (output,) = body["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 1])
    assert [one.split(":")[1:] for one in output["data"]] == [["1", "spam"], ["0", "ham"]]
    request = grpc_request("shop.oip-wanted")
    request.outputs.add(name="class")
    assert [one.name for one in ask("ModelInfer", request).outputs] == ["class"]


def test_a_version_is_asked_by_number_or_alias_and_none_is_the_champion(call, world) -> None:
    model = world.champion("oip-versions")
    world.version(model, good=2.0)
    world.promote(f"{model}/versions/2", "canary")
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"]}]}
    paths = {"": "1", "/versions/1": "1", "/versions/2": "2", "/versions/canary": "2"}
    for path, number in paths.items():
        answer = call("POST", f"/v2/models/shop.oip-versions{path}/infer", json=body)
        assert answer.json().get("model_version") == number, answer.text
    assert call("POST", "/v2/models/shop.oip-versions/versions/7/infer", json=body).status_code == 404


def test_several_labels_are_a_json_array_of_names(call, world) -> None:
    world.champion("oip-labels", classes=("a", "b", "c"), task=Task.MULTI_LABEL)
    found = by_name(call("POST", "/v2/models/shop.oip-labels/infer", json=json_request()).json())
    assert found["class"]["shape"] == [2]
    for text, row in zip(found["class"]["data"], np.array(found["probabilities"]["data"]).reshape(2, 3), strict=True):
        assert json.loads(text) == [name for name, p in zip("abc", row, strict=True) if p >= 0.5]


@pytest.mark.parametrize(
    ("datatype", "code"),
    [
        ("FP64", "<d"), ("FP32", "<f"), ("FP16", "<e"), ("INT8", "<b"), ("INT16", "<h"), ("INT32", "<i"), ("INT64", "<q"),
        ("UINT8", "<B"), ("UINT16", "<H"), ("UINT32", "<I"), ("UINT64", "<Q"), ("BOOL", "<?"),
    ],
)  # fmt: skip
def test_a_number_may_have_any_datatype(ask, world, datatype: str, code: str) -> None:
    if datatype == "FP64":
        world.champion("oip-datatypes")
    for rows in (1, 3):
        request = oip.ModelInferRequest(model_name="shop.oip-datatypes")
        request.inputs.add(name="text", datatype="BYTES", shape=[rows])
        request.inputs.add(name="length", datatype=datatype, shape=[rows])
        request.raw_input_contents.extend([raw_texts(*["win"] * rows), struct.pack(code, 1) * rows])
        assert ask("ModelInfer", request).outputs[0].shape == [rows]


def test_what_is_missing_is_a_warning_and_what_the_model_doesnt_read_is_passed_over(call, ask, world) -> None:
    world.champion("oip-missing")
    inputs = [
        {"name": "length", "datatype": "FP64", "shape": [1], "data": [None]},
        {"name": "unheard", "datatype": "BOOL", "shape": [1], "data": [True]},
    ]
    answer = call("POST", "/v2/models/shop.oip-missing/infer", json={"inputs": inputs}).json()
    warnings = json.loads(answer["parameters"]["warnings"])
    assert [one["field"] for one in warnings if "not in the row" in one["problem"]] == ["text"]
    request = oip.ModelInferRequest(model_name="shop.oip-missing")
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    request.inputs.add(name="length", datatype="FP32", shape=[1])
    request.raw_input_contents.extend([raw_texts(""), struct.pack("<f", float("nan"))])
    assert "warnings" in ask("ModelInfer", request).parameters


def test_predictions_are_logged_as_rows_and_take_feedback(call, world) -> None:
    model = world.champion("oip-logged")
    answer = call("POST", "/v2/models/shop.oip-logged/infer", json=json_request()).json()
    ids = answer["parameters"]["prediction_ids"].split(",")
    sent = {"prediction_id": ids[0], "class_names": ["spam"], "source": "shop"}
    told = call("POST", "/v2/models/shop.oip-logged/feedback", json=sent)
    assert told.status_code == 200 and len(told.json()["event_ids"]) == 1, told.text
    many = call("POST", "/v2/models/shop.oip-logged/feedback", json={"feedback": [sent, {**sent, "prediction_id": ids[1]}]})
    assert len(many.json()["event_ids"]) == 2, many.text
    wrong = call("POST", "/v2/models/shop.oip-logged/feedback", json={**sent, "class_names": ["eggs"]})
    assert wrong.status_code == 400 and "eggs" in wrong.json()["error"]
    log = events_from(world.settings())
    consumer = log.consumer([PREDICTIONS], start="earliest")
    rows, deadline = {}, time.monotonic() + 30
    while len(rows) < 2 and time.monotonic() < deadline:
        for record in consumer.poll(timeout=timedelta(seconds=0.2)):
            prediction = events_pb2.Prediction.FromString(record.value)
            if prediction.model == model:
                rows[prediction.prediction_id] = dict(prediction.features.items())
    consumer.close()
    log.close()
    assert [rows[one] for one in ids] == [{"text": TEXTS[0], "length": 21}, {"text": TEXTS[1], "length": 13}]


def typed_as_nothing(request: oip.ModelInferRequest) -> None:
    request.ClearField("raw_input_contents")
    for tensor in request.inputs:
        tensor.datatype = "WAT"
        tensor.contents.bytes_contents.extend([b"x"] * 2)


WRONG = [
    (lambda r: r.ClearField("inputs") or r.ClearField("raw_input_contents"), "inputs"),
    (lambda r: r.inputs[0].shape.append(2), "inputs[0].shape"),
    (lambda r: r.inputs[1].shape.__setitem__(0, 3), "inputs[1].shape"),
    (lambda r: r.raw_input_contents.pop(), "raw_input_contents"),
    (lambda r: r.raw_input_contents.__setitem__(1, b"123"), "raw_input_contents[1]"),
    (lambda r: r.raw_input_contents.__setitem__(0, b"\x05\x00\x00\x00ab"), "raw_input_contents[0][0]"),
    (lambda r: r.raw_input_contents.__setitem__(0, raw_texts("a", "b", "c")), "raw_input_contents[0]"),
    (lambda r: r.raw_input_contents.__setitem__(0, b"\x01\x00\x00\x00\xff" * 2), "raw_input_contents[0][0]"),
    (lambda r: setattr(r.inputs[1], "datatype", "FP65"), "datatype: 'FP65'"),
    (lambda r: r.inputs[1].contents.fp64_contents.append(1.0), "inputs[1].contents"),
    (typed_as_nothing, "inputs[0].datatype: 'WAT'"),
    (lambda r: setattr(r.inputs[1], "name", "text"), "inputs[1].name"),
    (lambda r: r.outputs.add(name="logits"), "outputs[0].name"),
    (lambda r: setattr(r, "model_name", "shop.Reviews"), "model_name"),
    (lambda r: setattr(r, "model_version", "1.5"), "version"),
    (lambda r: setattr(r.parameters["timeout"], "int64_param", -1), "parameters.timeout"),
]


@pytest.mark.parametrize(("change", "field"), WRONG)
def test_a_wrong_tensor_is_told_by_its_place(ask, world, change, field: str) -> None:
    if change is WRONG[0][0]:
        world.champion("oip-wrong")
    request = grpc_request("shop.oip-wrong")
    change(request)
    with pytest.raises(grpc.RpcError) as raised:
        ask("ModelInfer", request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, raised.value
    assert raised.value.details().startswith(field) or field in raised.value.details()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"inputs": 3}', b'{"inputs": [3]}', b'{"inputs": [{"name": "text"}]}', b'{"parameters": 1}',
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": "win"}]}',
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [[["x"]]]}]}',
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [99999999], "data": ["x"]}]}',
        b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 9}}]}',
        b'{"inputs": [{"name": "other", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}',
        b'{"id": 3, "inputs": []}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_a_400_with_the_protocols_error(call, world, body: bytes) -> None:
    if body == b"":
        world.champion("oip-bodies")
    answer = call("POST", "/v2/models/shop.oip-bodies/infer", content=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"] and len(answer.json()["error"]) > 10


def test_shared_memory_is_refused_with_what_to_do_instead(ask, world) -> None:
    world.champion("oip-shared")
    request = grpc_request("shop.oip-shared")
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    del request.raw_input_contents[0]  # as Triton's clients send it
    with pytest.raises(grpc.RpcError) as raised:
        ask("ModelInfer", request)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Send them in the request" in raised.value.details()


def test_a_stream_answers_in_order_and_goes_on_after_a_mistake(channel, admin, world) -> None:
    world.champion("oip-stream")
    requests = [grpc_request("shop.oip-stream") for _ in range(3)]
    requests[1].outputs.add(name="logits")
    requests[2].parameters["triton_enable_empty_final_response"].bool_param = True
    for number, request in enumerate(requests):
        request.id = str(number)
    stub = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer", request_serializer=oip.ModelInferRequest.SerializeToString,
        response_deserializer=oip.ModelStreamInferResponse.FromString,
    )  # fmt: skip
    answers = list(stub(iter(requests), metadata=(("authorization", f"Bearer {admin}"),), timeout=30))
    assert [one.infer_response.id for one in answers] == ["0", "1", "2"]
    assert [bool(one.error_message) for one in answers] == [False, True, False]
    assert "logits" in answers[1].error_message
    assert answers[2].infer_response.parameters["triton_final_response"].bool_param
    with pytest.raises(grpc.RpcError) as raised:
        list(stub(iter(requests), timeout=30))
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
