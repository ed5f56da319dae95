"""The whole loop through four real services: from a file to a model that regrows from feedback.

On the embedded engines, and on Kafka, MinIO and PostgreSQL. `REGROW_TEST_E2E` names others, such as each of them alone, for
which `test_mixed_engines` has a shorter loop:

    REGROW_TEST_E2E="kafka minio postgres" python -m pytest -m slow tests/e2e/test_loop.py
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import unicodedata
import urllib.request
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import demo_steps as steps
import demo_youtube as youtube
import pytest
from demo_http import Rest
from feedback_loop import gold_rows
from open_loop import OpenLoop, only_ever_newer, verdict

from regrow import CallError, Client
from regrow.labeling.v1 import datasets_pb2, label_sets_pb2
from regrow.local import Local
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import batch_predictions_pb2, policies_pb2, runs_pb2

ENGINES = os.environ.get("REGROW_TEST_E2E", "embedded kafka+minio+postgres").split()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("engines", ENGINES, indirect=True, scope="module"),
]
GOLD, FEEDBACK = 20, 300


@pytest.fixture(scope="module")
def rows() -> youtube.Comments:
    return youtube.comments(training=800, production=FEEDBACK)


@pytest.fixture(scope="module")
def champion(client: Client, rows: youtube.Comments) -> dict[str, str]:
    """Two models of 20 gold labels, one for each kind of feedback, with their own data: model to its first version."""
    versions = {}
    for model in ("told-the-truth", "lied-to"):
        youtube.import_comments(client, rows, model, gold=gold_rows(rows, GOLD, 2))
        client.create_spec(model, dataset=model, target="label", metric="accuracy")
        labels = client.create_label_set(model, problem_spec=model, label_set_id="gold")
        run = client.wait_for_run(client.create_run(labels.name, model=model, express=True).name)
        assert run.state == runs_pb2.RUN_STATE_SUCCEEDED, run.problem
        client.promote(run.version, why="the first version")
        assert steps.wait_until_served(client, model, run.version)
        versions[model] = run.version
    return versions


@pytest.fixture(scope="module")
def rest(local: Local) -> Rest:
    return Rest(url=local.url, key=local.admin_key)


def test_labelers_votes_and_people_make_a_label_set_better_than_a_majority_of_one_class(client: Client, rows: youtube.Comments):
    youtube.import_comments(client, rows, "labeled")
    client.create_spec("by-labelers", dataset="labeled", target="label", metric="accuracy")
    youtube.make_labelers(client, "by-labelers")
    outcomes = client.apply_labelers("labeled", problem_spec="by-labelers").outcomes
    assert [one.problem for one in outcomes] == [""] * len(youtube.LABELERS)
    votes = youtube.imported_votes(client, rows)
    assert client.write_votes("labeled", votes).written == len(votes)
    shown = youtube.answer_by_hand(client, rows, "labeled", "by-labelers", GOLD)
    assert len(shown) == GOLD and all("label" not in one.row.values for one in shown)
    made = client.create_label_set("labeled", problem_spec="by-labelers", method="dawid_skene")
    assert made.gold_rows == GOLD and made.coverage > 0.7
    assert {one.labeler.rpartition("/")[2] for one in made.labeler_summaries} == {*youtube.LABELERS, *youtube.IMPORTED}
    right, covered = steps.label_quality(client, made, rows.truth)
    assert covered > 400 and right > 0.85


def test_a_run_reports_scores_baselines_and_every_step_of_itself(client: Client, champion: dict[str, str]):
    run = next(run for run in _runs(client) if run.version == champion["told-the-truth"])
    assert run.report.holdout_rows == 250
    assert {"majority_class", "logistic_regression"} <= {one.name for one in run.report.baselines}
    assert all(score.low <= score.value <= score.high for score in run.report.holdout if score.HasField("low"))
    events = list(client.watch_run(run.name))
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    assert events[-1].state == runs_pb2.RUN_STATE_SUCCEEDED
    receipt = client.versions.GetReceipt(registry_pb2.GetReceiptRequest(name=run.version))
    assert receipt.run == run.name and receipt.label_set_digest and receipt.dataset_digest


def test_rest_and_grpc_give_the_same_answer(client: Client, rest: Rest, champion: dict[str, str]):
    row = {"text": "subscribe to my channel"}
    by_grpc = client.predict("told-the-truth", [row]).predictions[0]
    by_rest = rest.call("/v1/projects/default/models/told-the-truth:predict", {"rows": [row]})
    assert by_rest["version"] == champion["told-the-truth"]
    assert by_rest["predictions"][0]["classNames"] == list(by_grpc.class_names)
    assert by_rest["predictions"][0]["probabilities"][0]["probability"] == pytest.approx(by_grpc.probabilities[0].probability)


def test_a_whole_data_set_is_scored_and_comes_back_as_a_file_over_rest_and_as_a_frame(
    client: Client, rest: Rest, champion: dict[str, str]
):
    asked = {"datasetVersion": f"{client.name('datasets', 'told-the-truth')}/versions/latest", "model": "told-the-truth"}
    refused = _refusal(rest, {**asked, "model": client.name("models", "nobody")})
    assert refused == (404, "NOT_FOUND")
    made = rest.call("/v1/projects/default/batchPredictions", {**asked, "model": client.name("models", "told-the-truth")})
    *_, ended = client.watch_batch_prediction(made["name"], every=0.2)
    assert ended.state == batch_predictions_pb2.BATCH_PREDICTION_STATE_SUCCEEDED, ended.problem
    assert ended.version == champion["told-the-truth"] and ended.rows_done == ended.row_count > 800
    frame = client.batch_prediction_frame(made["name"])
    assert list(frame.index) == list(range(ended.row_count))
    kind, content = _downloaded(f"{rest.url}/v1/{made['name']}:download?fileFormat=RESULT_FORMAT_CSV&link=true", rest.key)
    if kind == "text/uri-list":
        _, content = _downloaded(content.decode().strip())
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    assert [line["predicted"] for line in lines] == frame["predicted"].tolist()
    rows = [{"text": text} for text in client.export_frame("told-the-truth")["text"][:20]]
    assert [one.class_names[0] for one in client.predict("told-the-truth", rows).predictions] == frame["predicted"].tolist()[
        :20
    ]


def test_true_feedback_promotes_a_challenger_and_the_gateway_swaps_without_a_failed_request(
    local: Local, client: Client, rows: youtube.Comments, champion: dict[str, str]
):
    model, labels = "told-the-truth", [row["label"] for row in rows.production]
    full = client.name("models", model)
    with OpenLoop(local.grpc_address, local.admin_key, full, [{"text": row["text"]} for row in rows.production]) as traffic:
        regrowth = _regrow(client, model, rows, labels)
        assert regrowth.state == policies_pb2.REGROWTH_STATE_PROMOTED, regrowth.decision
        assert steps.wait_until_served(client, model, regrowth.challenger)
        client.predict(model, [{"text": "one more after the swap"}])
    assert regrowth.comparison.low > 0 and regrowth.feedback_votes == FEEDBACK
    seen = verdict(traffic.answers)
    assert seen.failures == () and seen.requests > 50
    assert [version for version, *_ in seen.versions] == [1, 2]
    assert seen.stale == 0 and only_ever_newer(seen.versions)
    moves = client.aliases.ListAliasHistory(registry_pb2.ListAliasHistoryRequest(name=f"{full}/aliases/champion")).moves
    assert [one.to_version for one in moves] == [regrowth.challenger, champion[model]]
    assert regrowth.decision in moves[0].why


def test_permuted_feedback_is_refused_with_the_reason_recorded_and_the_champion_goes_on(
    client: Client, rows: youtube.Comments, champion: dict[str, str]
):
    labels = [row["label"] for row in rows.production]
    regrowth = _regrow(client, "lied-to", rows, random.Random(5).sample(labels, len(labels)))
    assert regrowth.state == policies_pb2.REGROWTH_STATE_REFUSED, regrowth.decision
    assert "champion" in regrowth.decision and "p =" in regrowth.decision
    assert steps.served_version(client, "lied-to") == champion["lied-to"]
    assert client.predict("lied-to", [{"text": "hello"}]).version == champion["lied-to"]


def test_the_label_set_of_a_regrowth_holds_the_rows_that_feedback_brought_but_those_that_repeat_the_holdout(
    client: Client, rows: youtube.Comments
):
    policy = f"projects/{client.project}/policies/told-the-truth"
    regrowth = steps.newest_regrowth(client, policy)
    made = client.label_sets.GetLabelSet(label_sets_pb2.GetLabelSetRequest(name=regrowth.label_set))
    held_out = {_normal(row["text"]) for row in rows.imported if row["split"] == "test"}
    repeating = sum(_normal(row["text"]) in held_out for row in rows.production)
    assert repeating > 0
    assert made.training_rows == GOLD + FEEDBACK - repeating and made.holdout_rows == 250
    stats = steps.feedback_stats(client, "told-the-truth")
    assert (stats.votes, stats.used, stats.unmatched, stats.lag) == (FEEDBACK, FEEDBACK, 0, 0)


def test_large_files_come_as_bytes_or_where_the_store_has_an_address_as_a_link(
    client: Client, rest: Rest, engines: Mapping[str, str], champion: dict[str, str]
):
    version = champion["told-the-truth"]
    parts = client.artifacts.ListArtifacts(registry_pb2.ListArtifactsRequest(parent=version)).artifacts
    exported = b"".join(piece.data for piece in client.datasets.ExportDataset(
        datasets_pb2.ExportDatasetRequest(name=client.name("datasets", "told-the-truth") + "/versions/1")
    ))  # fmt: skip
    files = {f"/v1/{one.name}:download": one.digest for one in parts}
    files[f"/v1/{client.name('datasets', 'told-the-truth')}/versions/1:export"] = f"sha256:{sha256(exported).hexdigest()}"
    for path, digest in files.items():
        for _ in range(2):  # an export is made once, and found the second time
            kind, content = _downloaded(f"{rest.url}{path}?link=true", rest.key)
            assert (kind == "text/uri-list") == ("REGROW_MINIO_ENDPOINT" in engines)
            if kind == "text/uri-list":
                assert content.startswith(engines["REGROW_MINIO_PUBLIC_ENDPOINT"].encode())
                _, content = _downloaded(content.decode().strip())
            assert f"sha256:{sha256(content).hexdigest()}" == digest


def test_a_call_without_a_key_is_refused_over_rest_and_grpc(local: Local, champion: dict[str, str]):
    with Client(local.grpc_address, "rg_wrong", retry_for=0) as stranger, pytest.raises(CallError) as refused:
        stranger.predict("told-the-truth", [{"text": "let me in"}])
    assert refused.value.code == "UNAUTHENTICATED"
    assert _status_without_key(f"{local.url}/v1/projects/default/models/told-the-truth:served") == 401


def _regrow(client: Client, model: str, rows: youtube.Comments, labels: list[str]) -> policies_pb2.Regrowth:
    """Predicts the production rows, sends these labels back, and waits for the regrowth that the policy begins."""
    policy = steps.create_policy(client, model, model, feedback_count=FEEDBACK)
    features: list[dict[str, Any]] = [{"text": row["text"]} for row in rows.production]
    ids = [one.prediction_id for piece in steps.batches(features, 100) for one in client.predict(model, piece).predictions]
    assert steps.send_labels(client, model, list(zip(ids, labels, strict=True)), "moderators") == FEEDBACK
    *_, regrowth = steps.wait_for_regrowth(client, policy.name, seconds=120)
    return regrowth


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _runs(client: Client) -> list[runs_pb2.Run]:
    return list(client.runs.ListRuns(runs_pb2.ListRunsRequest(parent=f"projects/{client.project}")).runs)


def _downloaded(url: str, key: str = "") -> tuple[str, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers.get_content_type(), answer.read()


def _refusal(rest: Rest, body: Mapping[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(
        f"{rest.url}/v1/projects/default/batchPredictions", json.dumps(body).encode(),
        {"Authorization": f"Bearer {rest.key}", "Content-Type": "application/json"},
    )  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    return refused.value.code, json.load(refused.value)["error"]["status"]


def _status_without_key(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        assert json.load(refusal)["error"]["message"]
        return refusal.code
