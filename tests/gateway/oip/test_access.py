"""Every call of the protocol x every role, no key, another project and other models: exactly what the policy table says."""

from __future__ import annotations

import grpc
import pytest

from services.gateway.oip.methods import INFER, STREAM, inference_methods
from services.gateway.oip.stubs import grpc_service_pb2 as oip
from services.gateway.policy import RANKS, RULES

MODEL = "shop.oip-access"
UNKEYED = [path for path in sorted(RULES) if path in inference_methods() and not RULES[path].keyless]
ALLOWED = (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)
BODY = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["win"]}]}


def request_of(path: str, model: str = MODEL):
    """A request that is good, about the model where it can be about one."""
    request = inference_methods()[path].request()
    for field in ("name", "model_name"):
        if field in request.DESCRIPTOR.fields_by_name and "SharedMemory" not in path:
            setattr(request, field, model)
    if path in (INFER, STREAM):
        request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"win")
    return request


@pytest.fixture(scope="module", autouse=True)
def model(world) -> None:
    world.champion("oip-access")


@pytest.fixture
def outcome(channel):
    """The code of a call over gRPC; of a stream, that of its end, or None where the request in it is refused."""

    def of(path: str, key: str, model: str = MODEL) -> grpc.StatusCode | None:
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        request = request_of(path, model).SerializeToString()
        try:
            if path == STREAM:
                answers = list(channel.stream_stream(path)(iter([request]), metadata=metadata, timeout=30))
                told = oip.ModelStreamInferResponse.FromString(answers[0]).error_message
                return None if told else grpc.StatusCode.OK
            channel.unary_unary(path)(request, metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    return of


def test_each_role_makes_the_calls_of_its_rank_and_no_others(outcome, new_key) -> None:
    for role, rank in RANKS.items():
        key = new_key(role, "shop")
        for path in UNKEYED:
            code = outcome(path, key)
            expected = ALLOWED if rank >= RANKS[RULES[path].role] else (grpc.StatusCode.PERMISSION_DENIED,)
            unloaded = path.endswith("/RepositoryModelUnload") and code is grpc.StatusCode.FAILED_PRECONDITION
            assert code in expected or (unloaded and rank >= RANKS["editor"]), (role, path)


@pytest.mark.parametrize("key", ["", "rg_aaaaaaaa_" + "x" * 43, "no key"])
def test_without_a_good_key_there_is_nothing_but_health(outcome, key: str) -> None:
    for path in UNKEYED:
        assert outcome(path, key) is grpc.StatusCode.UNAUTHENTICATED, path
    for path in (path for path in inference_methods() if RULES[path].keyless):
        assert outcome(path, key) is grpc.StatusCode.OK, path


def test_a_key_of_another_project_or_of_other_models_is_refused_whether_the_model_exists_or_not(outcome, call, new_key) -> None:
    body = {"role": "viewer", "models": ["projects/shop/models/another"], "displayName": "narrowed"}
    narrowed = call("POST", "/v1/keys?allow_missing_models=true", json=body)
    assert narrowed.status_code == 200, narrowed.text
    about_one = [path for path in UNKEYED if RULES[path].project]
    assert len(about_one) == 8
    for key in (new_key("admin", "bank"), narrowed.json()["secret"]):
        for path in about_one:
            for model in (MODEL, "shop.nothing"):
                assert outcome(path, key, model) in (grpc.StatusCode.PERMISSION_DENIED, None), (path, model)


def test_over_rest_each_route_asks_for_the_same(http, call, new_key) -> None:
    viewer, stranger = new_key("viewer", "shop"), new_key("admin", "bank")
    for path, method in inference_methods().items():
        for binding in method.bindings:
            place = binding.template.format(name=MODEL, model_name=MODEL, version="1")
            asked = {"json": BODY} if path == INFER else {"content": b"{}"} if binding.verb == "POST" else {}
            answers = [call(binding.verb, place, key=key, **asked) for key in (viewer, stranger)]
            unkeyed = http.request(binding.verb, place, **asked)
            statuses = [answer.status_code for answer in (*answers, unkeyed)]
            rule = RULES[path]
            if rule.keyless:
                assert statuses == [200, 200, 200], place
                continue
            theirs = "{" in binding.template and rule.project != ""
            first = 403 if rule.role == "editor" else 200
            assert statuses == [first, 403 if theirs else 200 if rule.role == "viewer" else 501, 401], place
            assert all(list(answer.json()) == ["error"] for answer in (*answers, unkeyed) if answer.status_code >= 400), place


def test_loading_and_unloading_is_audited_by_the_models_resource_name_and_so_is_a_refusal(call, world, new_key) -> None:
    model = world.champion("oip-audited")
    world.version(model, good=2.0)
    asked = {"parameters": {"config": '{"version_policy": {"specific": {"versions": [2]}}}'}}
    for what, body in (("load", asked), ("unload", {})):
        assert call("POST", f"/v2/repository/models/shop.oip-audited/{what}", json=body).status_code == 200
    call("POST", "/v2/models/shop.oip-audited/infer", key=new_key("viewer", "bank"), json=BODY)
    for method, outcome in {"RepositoryModelLoad": "OK", "RepositoryModelUnload": "OK"}.items():
        (event,) = call("GET", f"/v1/auditEvents?resource={model}&method={method}").json()["auditEvents"]
        assert (event["outcome"], event["sourceAddress"][:10]) == (outcome, "127.0.0.1:")


def test_predictions_over_the_protocol_count_for_the_limits_of_a_key(call, world) -> None:
    world.champion("oip-limited")
    limits = {"rowsPerDay": 2, "callsPerSecond": 50, "burst": 50}
    made = call("POST", "/v1/keys", json={"role": "viewer", "displayName": "limited", "limits": limits})
    assert made.status_code == 200, made.text
    key, path = made.json()["secret"], "/v2/models/shop.oip-limited/infer"
    answers = [call("POST", path, key=key, json=BODY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-limit"] == "50"
    assert int(answers[2].headers["retry-after"]) > 0 and "rows a day" in answers[2].json()["error"]
