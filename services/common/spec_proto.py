"""A problem spec between its message and its rules, for every service that reads or answers one. Light: no pandas, no Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from regrow.types.v1 import problem_spec_pb2 as pb
from regrow.types.v1 import schema_pb2
from services.common.errors import InvalidField
from services.common.spec import ClassDefinition, InputColumn, Metric, ProblemSpec, Task

_TASKS = {
    pb.TASK_UNSPECIFIED: Task.SINGLE_LABEL,
    pb.TASK_SINGLE_LABEL: Task.SINGLE_LABEL,
    pb.TASK_MULTI_LABEL: Task.MULTI_LABEL,
}
_METRICS = {
    pb.METRIC_UNSPECIFIED: Metric.MACRO_F1,
    pb.METRIC_ACCURACY: Metric.ACCURACY,
    pb.METRIC_MACRO_F1: Metric.MACRO_F1,
    pb.METRIC_WEIGHTED_F1: Metric.WEIGHTED_F1,
    pb.METRIC_F_BETA: Metric.F_BETA,
    pb.METRIC_AVERAGE_PRECISION: Metric.AVERAGE_PRECISION,
    pb.METRIC_LOG_LOSS: Metric.LOG_LOSS,
    pb.METRIC_EXPECTED_COST: Metric.EXPECTED_COST,
}
_KINDS = {
    schema_pb2.COLUMN_KIND_TEXT: "text",
    schema_pb2.COLUMN_KIND_CATEGORICAL: "categorical",
    schema_pb2.COLUMN_KIND_NUMERIC: "numeric",
    schema_pb2.COLUMN_KIND_BOOLEAN: "boolean",
    schema_pb2.COLUMN_KIND_DATETIME: "datetime",
    schema_pb2.COLUMN_KIND_ID: "id",
}
# Later entries win, so the unspecified value, which comes first, is never answered.
_TASK_NUMBERS = {task: number for number, task in _TASKS.items()}
_METRIC_NUMBERS = {metric: number for number, metric in _METRICS.items()}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}

T = TypeVar("T")


def spec_from_proto(message: pb.ProblemSpec) -> ProblemSpec:
    """The spec that a service answered. A message on create has no inputs yet and lacks what is inferred.

    Raises `InvalidField` for a number that no enum value of this release has.
    """
    return ProblemSpec(
        name=message.name, dataset=message.dataset, version=message.version or 1, supersedes=message.supersedes,
        task=_known(_TASKS, message.task, "problem_spec.task"),
        classes=tuple(
            ClassDefinition(name=c.name, description=c.description, source_values=tuple(c.source_values), parent=c.parent)
            for c in message.classes
        ),
        target_column=message.target_column,
        inputs=tuple(
            InputColumn(name=c.name, kind=_known(_KINDS, c.kind, "problem_spec.resolved_inputs"))
            for c in message.resolved_inputs
        ),
        metric=_known(_METRICS, message.metric, "problem_spec.metric"), beta=message.beta or 1.0,
        positive_class=message.positive_class,
        class_weights=tuple(message.class_weights), balance_classes=message.balance_classes,
        cost_matrix=tuple(tuple(row.costs) for row in message.cost_matrix), abstain_below=message.abstain_below,
        slice_columns=tuple(message.slice_columns), label_separator=message.label_separator or "|",
        warnings=tuple(message.warnings),
    )  # fmt: skip


def spec_to_proto(spec: ProblemSpec, *, created: datetime | None = None, **fields: Any) -> pb.ProblemSpec:
    """The message of a complete spec; `fields` sets what the rules don't know (`excluded_columns`)."""
    message = pb.ProblemSpec(
        name=spec.name, dataset=spec.dataset, version=spec.version, supersedes=spec.supersedes, task=_TASK_NUMBERS[spec.task],
        classes=[
            pb.ClassDefinition(name=c.name, description=c.description, source_values=c.source_values, parent=c.parent)
            for c in spec.classes
        ],
        target_column=spec.target_column, metric=_METRIC_NUMBERS[spec.metric], beta=spec.beta,
        positive_class=spec.positive_class,
        class_weights=spec.class_weights, balance_classes=spec.balance_classes,
        cost_matrix=[pb.CostRow(costs=row) for row in spec.cost_matrix], abstain_below=spec.abstain_below,
        slice_columns=spec.slice_columns, label_separator=spec.label_separator, warnings=spec.warnings,
        resolved_inputs=[schema_pb2.Column(name=i.name, kind=_KIND_NUMBERS[i.kind]) for i in spec.inputs],
        **fields,
    )  # fmt: skip
    if created is not None:
        message.create_time.FromDatetime(created)
    return message


def _known(values: Mapping[Any, T], number: int, field: str) -> T:
    if number not in values:
        raise InvalidField(field, f"{number} stands for nothing that this release knows.")
    return values[number]
