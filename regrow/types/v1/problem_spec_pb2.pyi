import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from regrow.types.v1 import schema_pb2 as _schema_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_SINGLE_LABEL: _ClassVar[Task]
    TASK_MULTI_LABEL: _ClassVar[Task]

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_ACCURACY: _ClassVar[Metric]
    METRIC_MACRO_F1: _ClassVar[Metric]
    METRIC_WEIGHTED_F1: _ClassVar[Metric]
    METRIC_F_BETA: _ClassVar[Metric]
    METRIC_AVERAGE_PRECISION: _ClassVar[Metric]
    METRIC_LOG_LOSS: _ClassVar[Metric]
    METRIC_EXPECTED_COST: _ClassVar[Metric]
TASK_UNSPECIFIED: Task
TASK_SINGLE_LABEL: Task
TASK_MULTI_LABEL: Task
METRIC_UNSPECIFIED: Metric
METRIC_ACCURACY: Metric
METRIC_MACRO_F1: Metric
METRIC_WEIGHTED_F1: Metric
METRIC_F_BETA: Metric
METRIC_AVERAGE_PRECISION: Metric
METRIC_LOG_LOSS: Metric
METRIC_EXPECTED_COST: Metric

class ClassDefinition(_message.Message):
    __slots__ = ("name", "description", "source_values", "parent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_VALUES_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    source_values: _containers.RepeatedScalarFieldContainer[str]
    parent: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., source_values: _Optional[_Iterable[str]] = ..., parent: _Optional[str] = ...) -> None: ...

class CostRow(_message.Message):
    __slots__ = ("costs",)
    COSTS_FIELD_NUMBER: _ClassVar[int]
    costs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, costs: _Optional[_Iterable[float]] = ...) -> None: ...

class ProblemSpec(_message.Message):
    __slots__ = ("name", "version", "supersedes", "task", "classes", "target_column", "input_columns", "excluded_columns", "metric", "beta", "positive_class", "class_weights", "balance_classes", "cost_matrix", "abstain_below", "slice_columns", "label_separator", "create_time", "warnings", "dataset", "resolved_inputs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TARGET_COLUMN_FIELD_NUMBER: _ClassVar[int]
    INPUT_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_CLASS_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_CLASSES_FIELD_NUMBER: _ClassVar[int]
    COST_MATRIX_FIELD_NUMBER: _ClassVar[int]
    ABSTAIN_BELOW_FIELD_NUMBER: _ClassVar[int]
    SLICE_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SEPARATOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    supersedes: str
    task: Task
    classes: _containers.RepeatedCompositeFieldContainer[ClassDefinition]
    target_column: str
    input_columns: _containers.RepeatedScalarFieldContainer[str]
    excluded_columns: _containers.RepeatedScalarFieldContainer[str]
    metric: Metric
    beta: float
    positive_class: str
    class_weights: _containers.RepeatedScalarFieldContainer[float]
    balance_classes: bool
    cost_matrix: _containers.RepeatedCompositeFieldContainer[CostRow]
    abstain_below: float
    slice_columns: _containers.RepeatedScalarFieldContainer[str]
    label_separator: str
    create_time: _timestamp_pb2.Timestamp
    warnings: _containers.RepeatedScalarFieldContainer[str]
    dataset: str
    resolved_inputs: _containers.RepeatedCompositeFieldContainer[_schema_pb2.Column]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., supersedes: _Optional[str] = ..., task: _Optional[_Union[Task, str]] = ..., classes: _Optional[_Iterable[_Union[ClassDefinition, _Mapping]]] = ..., target_column: _Optional[str] = ..., input_columns: _Optional[_Iterable[str]] = ..., excluded_columns: _Optional[_Iterable[str]] = ..., metric: _Optional[_Union[Metric, str]] = ..., beta: _Optional[float] = ..., positive_class: _Optional[str] = ..., class_weights: _Optional[_Iterable[float]] = ..., balance_classes: _Optional[bool] = ..., cost_matrix: _Optional[_Iterable[_Union[CostRow, _Mapping]]] = ..., abstain_below: _Optional[float] = ..., slice_columns: _Optional[_Iterable[str]] = ..., label_separator: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., dataset: _Optional[str] = ..., resolved_inputs: _Optional[_Iterable[_Union[_schema_pb2.Column, _Mapping]]] = ...) -> None: ...
