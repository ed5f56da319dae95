"""What the protocol tells of the server and its models, and who may ask."""

from __future__ import annotations

import json
import time

import grpc
import pytest

from services.gateway.oip.names import read, written
from services.gateway.oip.repository import EXTENSIONS, UNSUPPORTED
from services.gateway.oip.stubs import grpc_service_pb2 as oip
from services.gateway.oip.stubs import model_config_pb2

ROW = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"]}]}


def index(call, **options) -> dict[tuple[str, str], str]:
    answer = call("POST", "/v2/repository/index", **options)
    assert answer.status_code == 200, answer.text
    return {(one["name"], one["version"]): one["state"] for one in answer.json()}


def test_a_model_of_the_default_project_is_called_by_its_id_alone() -> None:
    for name, resource in {"buy": "projects/default/models/buy", "shop.buy": "projects/shop/models/buy"}.items():
        assert read(name, "").resource == resource
        assert written(resource) == written(f"{resource}/versions/3") == name
    assert read("shop.buy", "12").resource == "projects/shop/models/buy/versions/12"
    assert read("shop.buy", "canary").resource == "projects/shop/models/buy/aliases/canary"


def test_health_needs_no_key_and_everything_else_does(http, channel) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True, "live": True}
    refused = http.get("/v2")
    assert refused.status_code == 401 and "API key" in refused.json()["error"]
    assert refused.headers["www-authenticate"].startswith("Bearer")
    live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
    assert oip.ServerLiveResponse.FromString(live(b"", timeout=30)).live


def test_the_server_says_which_extensions_it_speaks(call, ask) -> None:
    body = call("GET", "/v2").json()
    assert (body["name"], body["extensions"]) == ("regrow", list(EXTENSIONS))
    assert list(ask("ServerMetadata", oip.ServerMetadataRequest()).extensions) == list(EXTENSIONS)
    assert call("GET", "/v2/").json() == body


def test_a_models_metadata_and_configuration_are_the_same_over_both(call, ask, world) -> None:
    world.champion("oip-described")
    body = call("GET", "/v2/models/shop.oip-described").json()
    assert body == {
        "name": "shop.oip-described", "versions": ["1"], "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "text", "datatype": "BYTES", "shape": [-1]}, {"name": "length", "datatype": "FP64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "class", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
        ],
    }  # fmt: skip
    told = ask("ModelMetadata", oip.ModelMetadataRequest(name="shop.oip-described", version="1"))
    assert [one.name for one in told.inputs] == ["text", "length"] and list(told.outputs[1].shape) == [-1, 2]
    config = call("GET", "/v2/models/shop.oip-described/config").json()
    assert (config["name"], config["backend"], config.get("max_batch_size", 0)) == ("shop.oip-described", "onnxruntime", 0)
    for told, metadata in ((config["input"], body["inputs"]), (config["output"], body["outputs"])):
        assert [[int(size) for size in one["dims"]] for one in told] == [one["shape"] for one in metadata]
    assert json.loads(config["parameters"]["classes"]["string_value"]) == ["ham", "spam"]
    told = ask("ModelConfig", oip.ModelConfigRequest(name="shop.oip-described")).config
    assert told.input[1].data_type == model_config_pb2.TYPE_FP64 and told.input[1].optional
    assert list(told.version_policy.specific.versions) == [1]


def test_an_unknown_model_is_a_404_and_not_ready(call, ask) -> None:
    answer = call("GET", "/v2/models/shop.nothing")
    assert answer.status_code == 404 and "nothing" in answer.json()["error"]
    assert call("GET", "/v2/models/shop.nothing/ready").status_code == 503
    assert not ask("ModelReady", oip.ModelReadyRequest(name="shop.nothing")).ready
    assert call("GET", "/v2/nothing").json()["error"].startswith("There is no call GET /v2/nothing")
    wrong_verb = call("GET", "/v2/repository/index")
    assert wrong_verb.status_code == 405 and wrong_verb.headers["allow"] == "POST"


def test_a_version_without_alias_is_loaded_and_unloaded_by_number(call, ask, world) -> None:
    model = world.champion("oip-loading")
    world.version(model, good=2.0)
    load, unload = (f"/v2/repository/models/shop.oip-loading/{what}" for what in ("load", "unload"))
    assert call("POST", load).status_code == 200
    assert index(call)["shop.oip-loading", "1"] == "READY"
    assert call("GET", "/v2/models/shop.oip-loading/versions/2/ready").status_code == 503
    named = {"parameters": {"config": json.dumps({"version_policy": {"specific": {"versions": [2]}}})}}
    assert call("POST", load, json=named).status_code == 200
    assert call("GET", "/v2/models/shop.oip-loading/versions/2/ready").json() == {"ready": True}
    assert index(call, json={"ready": True})["shop.oip-loading", "2"] == "READY"
    assert call("GET", "/v2/models/shop.oip-loading").json()["versions"] == ["1", "2"]
    assert call("POST", unload, json={"parameters": {"unload_dependents": False}}).status_code == 200
    assert ("shop.oip-loading", "2") not in index(call)
    still = call("POST", unload)
    assert still.status_code == 400 and "alias" in still.json()["error"]
    ask("RepositoryModelLoad", oip.RepositoryModelLoadRequest(repository_name="shop.oip-loading"))
    assert call("GET", "/v2/models/shop.oip-loading/ready").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"config": "{"}, 400), ({"config": "[]"}, 400), ({"config": '{"version_policy": {"all": {}}}'}, 400),
        ({"config": '{"version_policy": {"specific": {"versions": []}}}'}, 400), ({"config": {}}, 400),
        ({"config": '{"version_policy": {"specific": {"versions": [99]}}}'}, 404), ({"file:1/model.onnx": "AAAA"}, 501),
    ],
)  # fmt: skip
def test_a_load_that_cant_be_is_told_why(call, world, parameters, status: int) -> None:
    if parameters == {"config": "{"}:
        world.champion("oip-misloaded")
    answer = call("POST", "/v2/repository/models/shop.oip-misloaded/load", json={"parameters": parameters})
    assert answer.status_code == status and answer.json()["error"], answer.text


def test_a_version_that_cant_be_loaded_is_unavailable_with_the_reason(call, world) -> None:
    model = world.champion("oip-broken")
    assert call("POST", "/v2/models/shop.oip-broken/infer", json=ROW).status_code == 200
    world.promote(world.version(model, good=float("nan")))
    deadline = time.monotonic() + 30
    while index(call).get(("shop.oip-broken", "2")) != "UNAVAILABLE" and time.monotonic() < deadline:
        time.sleep(0.05)
    (row,) = [one for one in call("POST", "/v2/repository/index").json() if one["reason"] and one["name"] == "shop.oip-broken"]
    assert row["version"] == "2" and "Train it again" in row["reason"]
    assert index(call)["shop.oip-broken", "1"] == "READY"


def test_statistics_count_what_was_predicted_through_either_door(call, ask, world) -> None:
    model = world.champion("oip-counted")
    for _ in range(3):
        call("POST", "/v2/models/shop.oip-counted/infer", json=ROW)
    call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "a"}, {"text": "b"}]})
    call("POST", f"/v1/{model}:predict", json={"rows": [{"length": "many"}]})
    (told,) = call("GET", "/v2/models/shop.oip-counted/stats").json()["model_stats"]
    assert (told["name"], told["version"], told["inference_count"], told["execution_count"]) == ("shop.oip-counted", "1", 5, 4)
    spent = told["inference_stats"]
    assert (spent["success"]["count"], spent["fail"]["count"]) == (4, 1)
    parts = [spent[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert all(parts) and sum(parts) == pytest.approx(spent["success"]["ns"], rel=0.01)
    assert [(one["batch_size"], one["compute_infer"]["count"]) for one in told["batch_stats"]] == [(1, 3), (2, 1)]
    assert abs(told["last_inference"] / 1000 - time.time()) < 60 and told["memory_usage"][0]["byte_size"] > 100
    assert any(one.name == "shop.oip-counted" for one in ask("ModelStatistics", oip.ModelStatisticsRequest()).model_stats)


def test_a_key_sees_and_asks_its_own_projects_and_models_alone(call, ask, world, new_key) -> None:
    world.champion("oip-mine")
    key = new_key("viewer", "bank")
    assert not index(call, key=key)
    assert not call("GET", "/v2/models/stats", key=key).json()["model_stats"]
    for verb, path, body in [
        ("GET", "", None), ("GET", "/ready", None), ("GET", "/config", None), ("GET", "/stats", None), ("POST", "/infer", ROW),
        ("POST", "/feedback", {"prediction_id": "x", "class_names": ["spam"]}),
    ]:  # fmt: skip
        answer = call(verb, f"/v2/models/shop.oip-mine{path}", key=key, **({"json": body} if body else {}))
        assert answer.status_code == 403 and "shop" in answer.json()["error"], (path, answer.text)
    for what in ("load", "unload"):
        answer = call("POST", f"/v2/repository/models/shop.oip-mine/{what}", key=new_key("viewer", "shop"))
        assert answer.status_code == 403 and "editor" in answer.json()["error"]
    request = oip.ModelInferRequest(model_name="shop.oip-mine")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"win")
    assert ask("ModelInfer", request, key=new_key("viewer", "shop")).outputs
    for wrong in (key, ""):
        with pytest.raises(grpc.RpcError):
            ask("ModelInfer", request, key=wrong)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_means_nothing_here_is_unimplemented_with_the_reason(ask, name: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        ask(name, getattr(oip, f"{name}Request")())
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert len(raised.value.details()) > 20


def test_over_rest_they_are_501(call) -> None:
    for verb, path in [
        ("GET", "systemsharedmemory/status"), ("GET", "cudasharedmemory/region/r/status"), ("GET", "logging"),
        ("POST", "systemsharedmemory/region/r/register"), ("POST", "cudasharedmemory/unregister"), ("POST", "trace/setting"),
    ]:  # fmt: skip
        answer = call(verb, f"/v2/{path}", content=b"{}")
        assert answer.status_code == 501 and answer.json()["error"], path
