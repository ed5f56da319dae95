"""What is there beside the calls, and what the gateway needs to run."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import grpc
import httpx
import pytest
from gateway_world import RunningGateway
from grpc_health.v1 import health_pb2, health_pb2_grpc

import regrow
from regrow.gateway.v1 import gateway_pb2
from services.common.errors import FailedPrecondition
from services.gateway.methods import public_methods


def test_the_index_leads_to_the_rest(http) -> None:
    assert http.get("/").json()["api"] == "/openapi.json"
    browser = http.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, follow_redirects=False)
    assert (browser.status_code, browser.headers["location"]) == (303, "/docs")
    assert http.get("/healthz").json() == {"live": True}


def test_a_client_that_is_given_the_port_of_rest_hears_at_once_that_it_wants_the_one_of_grpc(gateway: RunningGateway) -> None:
    for address in (gateway.http, gateway.http.removeprefix("http://")):
        begun = time.monotonic()
        with regrow.Client(address, "rg_x", retry_for=300) as client, pytest.raises(regrow.CallError) as refused:
            client.keys.GetCaller(gateway_pb2.GetCallerRequest())
        assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "NOT_GRPC")
        assert "doesn't speak gRPC" in refused.value.message and address in refused.value.message
        assert time.monotonic() - begun < 100, "trying again won't help"


def test_readiness_names_what_is_missing(http) -> None:
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": []})


def test_metrics_count_calls_by_method_and_code(http, call) -> None:
    call("GET", "/v1/caller")
    assert (
        'regrow_rpc_requests_total{code="OK",method="regrow.gateway.v1.KeyService/GetCaller",service="gateway"}'
        in http.get("/metrics").text
    )
    assert "regrow_predictions_unlogged_total" in http.get("/metrics").text


def test_the_public_metrics_tell_which_software_runs_without_a_metrics_port(http) -> None:
    assert f'regrow_build_info{{service="gateway",version="{regrow.__version__}"}} 1.0' in http.get("/metrics").text


def test_the_public_door_to_the_metrics_can_be_shut(world) -> None:
    running = RunningGateway(world.settings(public_metrics=False))
    try:
        answer = httpx.get(f"{running.http}/metrics", timeout=20)
        assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")
        assert "metrics" not in httpx.get(running.http, timeout=20).json()
        assert httpx.get(f"{running.http}/healthz", timeout=20).status_code == 200
    finally:
        running.stop()


def test_an_unknown_page_is_an_error_like_any_other(http) -> None:
    answer = http.get("/nothing")
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_no_answer_allows_another_origin(http) -> None:
    answer = http.options("/v1/caller", headers={"origin": "https://evil.example", "access-control-request-method": "GET"})
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_api_document_has_every_call_with_its_words(http) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ours = [operation for path, all_ in document["paths"].items() if path.startswith("/v1/") for operation in all_.values()]
    assert {one["operationId"].partition("_")[0] for one in ours} == {method.name for method in public_methods().values()}
    assert all(one["summary"] and one["description"] for one in operations)
    references = str(document).split("'$ref': '#/components/schemas/")[1:]
    assert {reference.partition("'")[0] for reference in references} <= set(document["components"]["schemas"])
    predict = document["paths"]["/v1/projects/{project}/models/{model}:predict"]["post"]
    assert "name" not in predict["requestBody"]["content"]["application/json"]["schema"]["properties"]


def test_the_status_names_every_service_and_what_is_loaded(call, world) -> None:
    model = world.champion("in-the-status")
    call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "x"}]})
    status = call("GET", "/v1/status").json()
    assert {one["service"]: one["ready"] for one in status["services"]} == dict.fromkeys(
        ("gateway", "labeling", "training", "registry"), True
    )
    loaded = next(one for one in status["loadedModels"] if one["version"].startswith(f"{model}/"))
    assert (loaded["aliases"], loaded["predictions"]) == (["champion"], "1")


def test_the_status_shows_a_key_the_models_of_its_own_projects_alone(call, new_key, world) -> None:
    model = world.champion("not-for-all")
    call("POST", f"/v1/{model}:predict", json={"rows": [{"text": "x"}]})
    status = call("GET", "/v1/status", key=new_key("viewer", "bank")).json()
    assert (status["loadedModels"], len(status["services"])) == ([], 4)


@pytest.mark.slow
def test_the_gateway_needs_no_torch_no_pandas_and_no_duckdb() -> None:
    heavy = ("torch", "sklearn", "pandas", "pyarrow", "duckdb", "transformers", "scipy", "onnx", "dbos")
    program = f"import sys, services.gateway.app; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_stop_lets_running_calls_finish_and_ends_endless_ones_with_an_error(world, admin) -> None:
    running = RunningGateway(world.settings())
    headers = {"authorization": f"Bearer {admin}"}
    world.recorder.streaming = threading.Event()
    outcome: dict[str, str] = {}

    def watch() -> None:
        outcome["stream"] = httpx.get(f"{running.http}/v1/projects/shop/runs/endless:watch", headers=headers, timeout=60).text

    def upload() -> None:
        def body():
            for _ in range(5):
                time.sleep(0.1)
                yield b"x" * 1000

        url = f"{running.http}/v1/projects/shop/datasets:import?dataset_id=late"
        outcome["upload"] = str(httpx.post(url, headers=headers, content=body(), timeout=60).status_code)

    threads = [threading.Thread(target=watch), threading.Thread(target=upload)]
    for thread in threads:
        thread.start()
    assert world.recorder.streaming.wait(30)
    while "late" not in [getattr(request, "dataset_id", "") for request in world.recorder.requests]:
        time.sleep(0.01)
    health = health_pb2_grpc.HealthStub(grpc.insecure_channel(running.grpc))
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    began = time.monotonic()
    running.stop()
    for thread in threads:
        thread.join()
    assert outcome["upload"] == "200"
    assert '"status":"UNAVAILABLE"' in outcome["stream"].splitlines()[-1]
    assert time.monotonic() - began < 4


def test_a_taken_port_is_told_with_who_has_it(world) -> None:
    first = RunningGateway(world.settings())
    try:
        with pytest.raises(FailedPrecondition, match="in use"):
            RunningGateway(world.settings(gateway_http_address=first.http.removeprefix("http://")))
    finally:
        first.stop()
