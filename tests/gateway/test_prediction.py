"""Predictions through the door, and the exchange of versions under load."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct

from regrow.events.v1 import events_pb2
from regrow.registry.v1 import registry_pb2 as reg
from services.common.bundle import Bundle
from services.common.errors import EngineUnavailable
from services.common.events import PREDICTIONS, events_from, read_envelope
from services.gateway.inference import computing, serving
from services.gateway.inference.prediction_log import UNLOGGED, Answered, PredictionIds, PredictionLog

SPAM, HAM = {"text": "win a free lunch, win", "length": 21}, {"text": "lunch meeting", "length": 13}


def predict(call, name: str, *rows: object, **options):
    return call("POST", f"/v1/{name}:predict", json={"rows": list(rows)}, **options)


def number(answer) -> int:
    return int(answer.json()["version"].rpartition("/")[2])


def eventually(check, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.02)


def test_rows_are_answered_in_order_with_classes_probabilities_and_ids(call, world) -> None:
    model = world.champion("in-order")
    answer = predict(call, model, SPAM, HAM).json()
    assert answer["version"] == f"{model}/versions/1"
    assert [one["classNames"] for one in answer["predictions"]] == [["spam"], ["ham"]]
    first = answer["predictions"][0]
    assert [one["className"] for one in first["probabilities"]] == ["spam", "ham"]
    assert abs(sum(one["probability"] for one in first["probabilities"]) - 1) < 1e-5
    assert first["predictionId"] < answer["predictions"][1]["predictionId"]


def test_thousands_of_rows_are_answered_in_one_call_and_more_than_ten_thousand_are_too_many(call, world, error) -> None:
    model = world.champion("thousands")
    answer = predict(call, model, *[SPAM, HAM] * 1000).json()["predictions"]
    assert [one["classNames"][0] for one in answer[:4]] == ["spam", "ham", "spam", "ham"]
    assert len({one["predictionId"] for one in answer}) == 2_000
    assert "rows" in error(predict(call, model, *[{}] * 10_001))["fields"]


def test_missing_and_odd_values_are_warnings_and_unreadable_ones_errors(call, world, error) -> None:
    model = world.champion("odd-values")
    answer = predict(call, model, {"length": None}, {"text": "free 🎉\0 win", "length": "3"}, {"text": None, "extra": 1})
    assert answer.status_code == 200, answer.text
    assert [one["field"] for one in answer.json()["predictions"][0]["warnings"]] == ["text"]
    wrong = predict(call, model, SPAM, {"text": "x", "length": "many"})
    assert wrong.status_code == 400
    assert "number" in error(wrong)["fields"]["rows[1].length"]


def test_rows_of_which_none_has_a_column_of_the_model_are_refused_with_the_columns_that_it_reads(call, world, error) -> None:
    model = world.champion("none-of-mine")
    for rows in ([{"body": "win"}], [{}], [{}, {"Text": "a near miss"}]):
        refused = predict(call, model, *rows)
        assert refused.status_code == 400
        assert error(refused)["fields"] == {"rows": "has none of the model's columns: text, length."}
    answer = predict(call, model, {}, {"length": None}).json()["predictions"]
    assert [len(one["warnings"]) for one in answer] == [2, 1], "one empty row among others is answered, and so is null"


def test_a_key_that_a_row_has_twice_is_refused_by_its_place_at_every_door_that_takes_json(call, world, error) -> None:
    model = world.champion("twice")
    row = b'{"text": "one: of two", "text": "the other"}'
    v2 = b'{"inputs": [], "inputs": []}'
    bodies = {
        f"/v1/{model}:predict": (b'{"rows": [' + row + b"]}", "rows[0].text"),
        f"/v1/{model}/feedback": (b'{"features": ' + row + b', "classNames": ["ham"]}', "feedback.features.text"),
        "/v2/models/shop.twice/infer": (v2, "inputs"),
    }
    for path, (body, field) in bodies.items():
        refused = call("POST", path, content=body, headers={"content-type": "application/json"})
        assert refused.status_code == 400 and f"{field}: is given twice" in refused.text, refused.text
    lines = call(
        "POST", f"/v1/{model}/feedback:stream", content=b'{"features": ' + row + b"}\n",
        headers={"content-type": "application/x-ndjson"},
    ).json()  # fmt: skip
    assert [(one["field"], one["problem"]) for one in lines["refused"]] == [("features.text", "is given twice. Send it once.")]


@pytest.mark.parametrize("rows", [[], [1], [[]], "x", [None]])
def test_rows_that_are_none_are_a_clear_error(call, world, error, rows) -> None:
    answer = call("POST", "/v1/projects/shop/models/any:predict", json={"rows": rows})
    assert answer.status_code == 400
    assert next(iter(error(answer)["fields"])).startswith("rows")


def test_a_class_list_of_thousands_answers_the_twenty_most_probable(call, world) -> None:
    model = world.champion("many-classes", classes=tuple(f"c{number}" for number in range(3000)))
    listed = predict(call, model, SPAM).json()["predictions"][0]["probabilities"]
    assert len(listed) == 20
    assert listed[0]["className"] == "c2999"
    assert sorted((one["probability"] for one in listed), reverse=True) == [one["probability"] for one in listed]


def test_what_cant_be_answered_is_told_apart(call, world, error) -> None:
    bare = world.model("no-champion")
    cases = [
        ("projects/shop/models/unknown", 404, "NOT_FOUND"),
        (bare, 400, "NO_CHAMPION"),
        (f"{bare}/versions/9", 404, "NOT_FOUND"),
        (f"{bare}/aliases/best", 404, "NOT_FOUND"),
        (f"{bare}/versions/x", 400, "INVALID_FIELD"),
    ]
    for name, status, reason in cases:
        answer = predict(call, name, SPAM)
        assert (answer.status_code, error(answer)["reason"]) == (status, reason), name


def test_a_champion_that_was_set_a_moment_ago_answers_the_next_call(call, world) -> None:
    model = world.model("moments-ago")
    version = world.version(model)
    assert predict(call, model, SPAM).status_code == 400
    world.promote(version)
    assert predict(call, model, SPAM).status_code == 200


def test_versions_and_aliases_answer_by_name_and_few_versions_stay_in_memory(call, world, gateway) -> None:
    model = world.champion("by-name")
    others = [world.version(model, good=1.0 + step) for step in range(6)]
    world.promote(others[0], "candidate")
    assert number(predict(call, f"{model}/aliases/candidate", SPAM)) == 2
    for version in others:
        assert predict(call, version, SPAM).json()["version"] == version
    assert number(predict(call, model, SPAM)) == 1
    loaded = call("GET", "/v1/status").json()["loadedModels"]
    mine = [one for one in loaded if one["version"].startswith(model + "/")]
    assert len([one for one in mine if not one["aliases"]]) <= 4
    assert next(one for one in mine if one["version"].endswith("/1"))["aliases"] == ["champion"]


def test_a_model_tells_what_it_reads_and_a_row_to_try_it_with(call, world) -> None:
    model = world.champion("described")
    served = call("GET", f"/v1/{model}:served").json()
    assert served["version"] == f"{model}/versions/1"
    assert [(one["name"], one["kind"]) for one in served["inputs"]] == [("text", "text"), ("length", "numeric")]
    assert [one["mayBeMissing"] for one in served["inputs"]] == [False, True]
    assert served["classNames"] == ["ham", "spam"]
    assert "brew" in served["design"]
    assert predict(call, model, served["exampleRow"]).status_code == 200


def test_under_load_a_swap_fails_no_call_and_after_it_nobody_hears_from_the_older(world, gateway, admin) -> None:
    model = world.champion("hot")
    headers = {"authorization": f"Bearer {admin}"}
    stop, answers, failures, lock = threading.Event(), [], [], threading.Lock()

    def client() -> None:
        with httpx.Client(base_url=gateway.http, headers=headers, timeout=30) as http:
            while not stop.is_set():
                began = time.monotonic()
                answer = http.post(f"/v1/{model}:predict", json={"rows": [SPAM]})
                with lock:
                    if answer.status_code == 200:
                        answers.append((began, time.monotonic(), number(answer)))
                    else:
                        failures.append(answer.text)

    def seen(version: int) -> bool:
        with lock:
            return any(answered == version for _, _, answered in answers)

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client) for _ in range(3)]
        for step in range(3):
            eventually(lambda step=step: seen(step + 1))
            world.promote(world.version(model, good=2.0 + step))
        eventually(lambda: seen(4))
        time.sleep(0.1)
        stop.set()
        for one in clients:
            one.result()
    assert failures == []
    assert {version for _, _, version in answers} == {1, 2, 3, 4}
    newest_by_end = 0
    ended = sorted(answers, key=lambda one: one[1])
    for began, _, version in sorted(answers):
        newest_by_end = max((v for _, end, v in ended if end < began), default=0)
        assert version >= newest_by_end


def test_a_bundle_that_is_damaged_leaves_the_old_version_in_place_and_is_told(call, world, monkeypatch) -> None:
    monkeypatch.setattr(serving, "_TRY_AGAIN_SECONDS", 0.2)
    model = world.champion("damaged")
    assert number(predict(call, model, SPAM)) == 1
    version = world.version(model, good=77.0)
    digest = world.versions.GetVersion(reg.GetVersionRequest(name=version)).bundle_digest
    key = digest.replace(":", "/")
    content = world.objects.get("regrow-models", key)
    world.objects.delete("regrow-models", key)
    world.objects.put("regrow-models", key, content + b" ")
    world.promote(version)
    eventually(lambda: "damaged" in str(call("GET", "/v1/status").json()["services"][0]["problem"]))
    assert number(predict(call, model, SPAM)) == 1
    world.objects.delete("regrow-models", key)
    world.objects.put("regrow-models", key, content)
    eventually(lambda: number(predict(call, model, SPAM)) == 2, 10)


def test_every_prediction_reaches_the_log_with_its_features_and_the_champions_spec(call, world) -> None:
    model = world.champion("logged")
    answer = predict(call, model, SPAM, {"text": "meeting", "nested": {"a": [1, None, True]}}).json()
    log = events_from(world.settings())
    consumer = log.consumer([PREDICTIONS])
    found: dict[str, events_pb2.Prediction] = {}
    deadline = time.monotonic() + 5
    while len(found) < 2 and time.monotonic() < deadline:
        for record in consumer.poll(timeout=timedelta(milliseconds=200)):
            if record.key == model:
                payload = events_pb2.Prediction.FromString(record.value)
                found[payload.prediction_id] = payload
                assert read_envelope(record.headers).id == payload.prediction_id
    consumer.close()
    log.close()
    first, second = (found[one["predictionId"]] for one in answer["predictions"])
    assert (first.model, first.version, list(first.class_names)) == (model, 1, ["spam"])
    assert (first.problem_spec, first.dataset) == ("projects/shop/problemSpecs/spam", "projects/shop/datasets/mail")
    assert first.features["text"] == SPAM["text"]
    assert len(first.probabilities) == 2
    assert second.features["nested"]["a"][2] is True


def test_ids_sort_by_time_and_never_repeat_even_when_the_clock_goes_back(monkeypatch) -> None:
    ids = PredictionIds()
    moments = iter([1000.0, 1000.0, 999.0, 1001.0])
    monkeypatch.setattr("services.gateway.inference.prediction_log.time.time", lambda: next(moments))
    taken = [one for count in (3, 1, 2, 1) for one in ids.take(count)[0]]
    assert taken == sorted(taken)
    assert len(set(taken)) == 7
    assert {len(one) for one in taken} == {32}


class DeadLog:
    """An event log that is down."""

    def append(self, topic: str, events: object) -> None:
        raise EngineUnavailable("events", "it is down")


def test_while_the_log_is_down_predictions_wait_up_to_a_bound_and_beyond_it_are_counted_as_unlogged() -> None:
    log = PredictionLog(DeadLog(), most_rows=30)
    before = UNLOGGED._value.get()
    for number in range(10):
        began = time.monotonic()
        answered = Answered(
            ids=[f"{number}-{row}" for row in range(5)], model="projects/shop/models/m", version=1,
            features=lambda: [Struct()] * 5, probabilities=np.zeros((5, 2), np.float32), class_names=[["ham"]] * 5,
            problem_spec="", dataset="", time=datetime.now(UTC),
        )  # fmt: skip
        log.record(answered, size=100)
        assert time.monotonic() - began < 0.1
    assert log.pending == 30
    assert UNLOGGED._value.get() - before == 20
    log.close(0.3)
    assert UNLOGGED._value.get() - before == 50


def test_a_quick_version_is_computed_at_once_and_a_slow_one_in_a_thread(call, world, monkeypatch) -> None:
    model = world.champion("slow-or-quick")
    threads, clock, computed = list[str](), [0.0], Bundle.predict_columns

    def predict_and_note(self, *rows):
        if not threading.current_thread().name.startswith("load"):
            threads.append(threading.current_thread().name)
            clock[0] += 0.05 if len(threads) <= 2 else 0.00001
        return computed(self, *rows)

    monkeypatch.setattr(Bundle, "predict_columns", predict_and_note)
    monkeypatch.setattr(computing.time, "thread_time", lambda: clock[0])
    assert predict(call, model, SPAM).status_code == 200
    eventually(lambda: predict(call, model, SPAM).status_code == 200 and not threads[-1].startswith("predict"))
    assert threads[0].startswith("predict") and threads[1].startswith("predict")
    assert predict(call, model, {**SPAM, "padding": "x" * 5000}).status_code == 200
    assert threads[-1].startswith("predict")
