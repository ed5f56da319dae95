"""`regrow status` against a real gRPC server whose answers are written here: well, in an outage, and without a gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from regrow.credentials import Credentials, store_credentials
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import feedback_ledger_pb2
from regrow.training.v1 import runs_pb2

Run = Callable[..., tuple[int, str, str]]
STATS = feedback_ledger_pb2.FeedbackStats(model="projects/default/models/buy", votes=12)


def system(**problems: str) -> gateway_pb2.Status:
    """With two models of the project that is asked for, and one of another."""
    made = gateway_pb2.Status(software_version="1")
    for name in ("gateway", "labeling", "training", "registry"):
        made.services.add(service=name, ready=name not in problems, problem=problems.get(name, ""))
    for model in ("projects/default/models/buy", "projects/default/models/sell", "projects/other/models/buy"):
        made.loaded_models.add(version=f"{model}/versions/1")
    return made


def test_where_all_is_well_everything_is_shown_with_exit_code_0(run: Run, gateway: Any) -> None:
    active = runs_pb2.Run(name="projects/default/runs/r7", state=runs_pb2.RUN_STATE_RUNNING)
    gateway.on("GetStatus", lambda _: system())
    gateway.on("GetFeedbackStats", lambda _: STATS)
    gateway.on("ListRuns", lambda _: runs_pb2.ListRunsResponse(runs=[active]))
    code, out, err = run("status")
    assert (code, err) == (0, "")
    assert "labeling" in out and "buy/1" in out and "12" in out and "r7" in out
    asked = {one.parent for one in gateway.requests if isinstance(one, feedback_ledger_pb2.GetFeedbackStatsRequest)}
    assert asked == {"projects/default/models/buy", "projects/default/models/sell"}
    (listing,) = (one for one in gateway.requests if isinstance(one, runs_pb2.ListRunsRequest))
    assert listing.filter == "state = queued OR state = running"


def test_in_an_outage_what_is_missing_comes_first_and_each_part_that_cant_be_read_has_its_reason_within_seconds(
    run: Run, gateway: Any, refusal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrow.cli.status.PART_SECONDS", 1.0)

    def stats(request: feedback_ledger_pb2.GetFeedbackStatsRequest) -> feedback_ledger_pb2.FeedbackStats:
        if request.parent.endswith("sell"):
            time.sleep(5)
        return STATS

    def away(_: Any) -> Any:
        raise refusal(grpc.StatusCode.UNAVAILABLE, "database can't be reached: it is away.", retry=2)

    gateway.on("GetStatus", lambda _: system(training="database can't be reached: it is away."))
    gateway.on("GetFeedbackStats", stats)
    gateway.on("ListRuns", away)
    begun = time.monotonic()
    code, out, err = run("status")
    assert code == 1 and time.monotonic() - begun < 4
    assert out.index("database can't be reached") < out.index("Feedback")
    assert "Not read: runs. database can't be reached: it is away." in err
    assert "Not read: feedback of sell. There was no answer within 1 s." in err
    code, out, _ = run("status", "--json")
    told = json.loads(out)
    assert code == 1 and [one["votes"] for one in told["feedback"]] == ["12"]
    assert set(told["unread"]) == {"runs", "feedback of sell"}


def test_a_service_that_is_not_ready_is_exit_code_1_though_all_could_be_read(run: Run, gateway: Any) -> None:
    gateway.on("GetStatus", lambda _: system(registry="registry doesn't answer."))
    gateway.on("GetFeedbackStats", lambda _: STATS)
    gateway.on("ListRuns", lambda _: runs_pb2.ListRunsResponse())
    code, out, err = run("status")
    assert (code, err) == (1, "") and "registry doesn't answer." in out


def test_a_gateway_that_is_away_is_told_at_once(run: Run) -> None:
    store_credentials(Credentials(grpc_address="127.0.0.1:1", key="rg_secret"))
    begun = time.monotonic()
    code, _, err = run("status")
    assert code == 1 and "No Regrow answers at 127.0.0.1:1" in err and time.monotonic() - begun < 5
