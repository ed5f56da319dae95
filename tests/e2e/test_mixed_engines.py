"""Each real engine alone in the place of its embedded one: the loop from a file to a model that has regrown."""

from __future__ import annotations

import demo_steps as steps
import demo_youtube as youtube
import pytest
from feedback_loop import gold_rows

from regrow import Client
from regrow.local import Local
from regrow.local.launcher import not_ready
from regrow.training.v1 import policies_pb2, runs_pb2

FEEDBACK = 120
MODEL = "spam"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("engines", ["kafka", "minio", "postgres"], indirect=True, scope="module")
def test_a_model_is_labeled_trained_promoted_served_and_regrown(local: Local, client: Client):
    rows = youtube.comments(training=800, production=FEEDBACK)
    youtube.import_comments(client, rows, "comments", gold=gold_rows(rows, 20, 2))
    client.create_spec(MODEL, dataset="comments", target="label", metric="accuracy")
    youtube.make_labelers(client, MODEL)
    assert [one.problem for one in client.apply_labelers("comments", problem_spec=MODEL).outcomes if one.problem] == []
    labels = client.create_label_set("comments", problem_spec=MODEL)
    run = client.wait_for_run(client.create_run(labels.name, model=MODEL, express=True).name)
    assert run.state == runs_pb2.RUN_STATE_SUCCEEDED, run.problem
    client.promote(run.version, why="the first version")
    assert steps.wait_until_served(client, MODEL, run.version)
    policy = steps.create_policy(client, MODEL, MODEL, feedback_count=FEEDBACK, promote_on_tie=True)
    features: list[dict[str, object]] = [{"text": row["text"]} for row in rows.production]
    ids = [one.prediction_id for one in client.predict(MODEL, features).predictions]
    sent = list(zip(ids, [row["label"] for row in rows.production], strict=True))
    assert steps.send_labels(client, MODEL, sent, "moderators") == FEEDBACK
    *_, regrowth = steps.wait_for_regrowth(client, policy.name, seconds=120)
    assert regrowth.state in steps.ENDED and regrowth.challenger, regrowth.decision
    assert regrowth.feedback_votes == FEEDBACK
    promoted = regrowth.state == policies_pb2.REGROWTH_STATE_PROMOTED
    assert steps.wait_until_served(client, MODEL, regrowth.challenger if promoted else run.version)
    stats = steps.feedback_stats(client, MODEL)
    assert (stats.votes, stats.used, stats.unmatched, stats.lag) == (FEEDBACK, FEEDBACK, 0, 0)
    assert not_ready(local.url) == ""
