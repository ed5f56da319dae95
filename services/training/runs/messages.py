"""Runs as messages: what `rules` and the reports of `fit` say, in the words of the proto."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from regrow.training.v1 import runs_pb2 as pb
from services.training.runs.rules import Run, RunEvent, State
from services.training.schedules import schedule_to_proto

STATES = {
    State.QUEUED: pb.RUN_STATE_QUEUED,
    State.RUNNING: pb.RUN_STATE_RUNNING,
    State.SUCCEEDED: pb.RUN_STATE_SUCCEEDED,
    State.FAILED: pb.RUN_STATE_FAILED,
    State.CANCELLED: pb.RUN_STATE_CANCELLED,
}


def run_to_proto(run: Run) -> pb.Run:
    """The run with its report."""
    return pb.Run(
        name=run.name, label_set=run.label_set, model=run.model, problem_spec=run.problem_spec,
        dataset_version=run.dataset_version, schedule=schedule_to_proto(run.schedule, run.template, run.seed),
        priority=pb.PRIORITY_EXPRESS if run.express else pb.PRIORITY_STANDARD, state=STATES[run.state], version=run.version,
        report=report_to_proto(run.report) if run.report else None, problem=run.problem, attempts=run.attempts,
        waiting_for=run.waiting_for, create_time=moment(run.created), start_time=moment(run.started),
        end_time=moment(run.ended),
    )  # fmt: skip


def event_to_proto(event: RunEvent) -> pb.RunEvent | None:
    """One event; None for kinds that watchers aren't told."""
    made = pb.RunEvent(sequence=event.sequence, time=moment(event.time))
    said = event.event
    match said.get("type"):
        case "state":
            made.state = STATES[State(said["state"])]
        case "epoch":
            made.epoch.CopyFrom(_epoch(said))
        case "stage":
            made.message = f"{str(said['stage']).capitalize()} ..."
        case "log":
            made.message = str(said["message"])
        case "report":
            made.report.CopyFrom(report_to_proto(said["report"]))
        case _:
            return None
    return made


def report_to_proto(report: Mapping[str, Any]) -> pb.RunReport:
    """What `fit` reports. Metrics that aren't defined on the rows are left out."""
    selection, holdout, rows = report["selection"], report["holdout"], report["rows"]
    calibration = holdout.get("calibration") or {}
    made = pb.RunReport(
        selection=_score(selection["metric"], selection) if selection["value"] is not None else None,
        holdout=_scores(holdout["metrics"]),
        holdout_rows=holdout["rows"],
        training_rows=rows["training"],
        selection_rows=rows["selection"],
        confusion_matrix=_confusion(holdout.get("confusion") or {}),
        baselines=[
            pb.BaselineScore(name=b["name"], description=b["description"], scores=_scores(b["metrics"]))
            for b in report["baselines"]
        ],
        slices=[
            pb.SliceScore(column=s["column"], value=s["value"], rows=s["rows"], scores=_scores(s["metrics"]))
            for s in holdout.get("slices") or ()
        ],
        temperature=calibration.get("temperature") or 1.0,
        notes=report["notes"],
        prediction_head=selection["head"],
        head_scores=_head_scores(selection["metric"], holdout["heads"]),
    )
    for field, key in (("calibration_error_before", "error_before"), ("calibration_error_after", "error_after")):
        if calibration.get(key) is not None:
            setattr(made, field, calibration[key])
    return made


def rank_of(report: Mapping[str, Any]) -> float | None:
    """The selection score, turned so that more is better: what the leaderboard is ordered by."""
    value = report["selection"]["value"]
    return None if value is None else -float(value) if report["lower_is_better"] else float(value)


def scores_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The holdout's metrics, plain, for the registry."""
    return {name: float(m["value"]) for name, m in report["holdout"]["metrics"].items() if m["value"] is not None}


def moment(time: datetime | None) -> Timestamp | None:
    """A time as a message; None stays unset."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _epoch(said: Mapping[str, Any]) -> pb.EpochEvent:
    made = pb.EpochEvent(epoch=said["epoch"], max_epochs=said["epochs"])
    for head, losses in said["losses"].items():
        loss = made.losses.add(head=head, training_loss=losses["training"])
        if losses["selection"] is not None:
            loss.selection_loss = losses["selection"]
    if said.get("selection") is not None:
        made.selection.CopyFrom(pb.Score(metric=said["metric"], value=said["selection"]))
    return made


def _scores(metrics: Mapping[str, Mapping[str, Any]]) -> Iterable[pb.Score]:
    return [_score(name, m) for name, m in metrics.items() if m["value"] is not None]


def _score(metric: str, measured: Mapping[str, Any]) -> pb.Score:
    made = pb.Score(metric=metric)
    for field, key in (("value", "value"), ("low", "low"), ("high", "high")):
        if measured.get(key) is not None:
            setattr(made, field, measured[key])
    return made


def _head_scores(metric: str, heads: Mapping[str, float]) -> list[pb.HeadScore]:
    """Nothing for one head: it is the model."""
    if len(heads) < 2:
        return []
    measured = {head: value for head, value in heads.items() if math.isfinite(value)}
    return [pb.HeadScore(head=head, score=pb.Score(metric=metric, value=value)) for head, value in measured.items()]


def _confusion(found: Mapping[str, Any]) -> list[pb.ConfusionRow]:
    return [
        pb.ConfusionRow(class_name=name, predicted=row)
        for name, row in zip(found.get("classes", ()), found.get("matrix", ()), strict=False)
    ]
