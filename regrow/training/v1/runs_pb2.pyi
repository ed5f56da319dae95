import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from regrow.training.v1 import designs_pb2 as _designs_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_STANDARD: _ClassVar[Priority]
    PRIORITY_EXPRESS: _ClassVar[Priority]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_QUEUED: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_STANDARD: Priority
PRIORITY_EXPRESS: Priority
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_QUEUED: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState

class Score(_message.Message):
    __slots__ = ("metric", "value", "low", "high")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    metric: str
    value: float
    low: float
    high: float
    def __init__(self, metric: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ConfusionRow(_message.Message):
    __slots__ = ("class_name", "predicted")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    predicted: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, class_name: _Optional[str] = ..., predicted: _Optional[_Iterable[int]] = ...) -> None: ...

class BaselineScore(_message.Message):
    __slots__ = ("name", "description", "scores")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    scores: _containers.RepeatedCompositeFieldContainer[Score]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[Score, _Mapping]]] = ...) -> None: ...

class SliceScore(_message.Message):
    __slots__ = ("column", "value", "rows", "scores")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    column: str
    value: str
    rows: int
    scores: _containers.RepeatedCompositeFieldContainer[Score]
    def __init__(self, column: _Optional[str] = ..., value: _Optional[str] = ..., rows: _Optional[int] = ..., scores: _Optional[_Iterable[_Union[Score, _Mapping]]] = ...) -> None: ...

class RunReport(_message.Message):
    __slots__ = ("selection", "holdout", "holdout_rows", "training_rows", "selection_rows", "confusion_matrix", "baselines", "slices", "temperature", "calibration_error_before", "calibration_error_after", "notes", "prediction_head", "head_scores")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_ROWS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_ROWS_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_MATRIX_FIELD_NUMBER: _ClassVar[int]
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_AFTER_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_HEAD_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCORES_FIELD_NUMBER: _ClassVar[int]
    selection: Score
    holdout: _containers.RepeatedCompositeFieldContainer[Score]
    holdout_rows: int
    training_rows: int
    selection_rows: int
    confusion_matrix: _containers.RepeatedCompositeFieldContainer[ConfusionRow]
    baselines: _containers.RepeatedCompositeFieldContainer[BaselineScore]
    slices: _containers.RepeatedCompositeFieldContainer[SliceScore]
    temperature: float
    calibration_error_before: float
    calibration_error_after: float
    notes: _containers.RepeatedScalarFieldContainer[str]
    prediction_head: str
    head_scores: _containers.RepeatedCompositeFieldContainer[HeadScore]
    def __init__(self, selection: _Optional[_Union[Score, _Mapping]] = ..., holdout: _Optional[_Iterable[_Union[Score, _Mapping]]] = ..., holdout_rows: _Optional[int] = ..., training_rows: _Optional[int] = ..., selection_rows: _Optional[int] = ..., confusion_matrix: _Optional[_Iterable[_Union[ConfusionRow, _Mapping]]] = ..., baselines: _Optional[_Iterable[_Union[BaselineScore, _Mapping]]] = ..., slices: _Optional[_Iterable[_Union[SliceScore, _Mapping]]] = ..., temperature: _Optional[float] = ..., calibration_error_before: _Optional[float] = ..., calibration_error_after: _Optional[float] = ..., notes: _Optional[_Iterable[str]] = ..., prediction_head: _Optional[str] = ..., head_scores: _Optional[_Iterable[_Union[HeadScore, _Mapping]]] = ...) -> None: ...

class HeadScore(_message.Message):
    __slots__ = ("head", "score")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    head: str
    score: Score
    def __init__(self, head: _Optional[str] = ..., score: _Optional[_Union[Score, _Mapping]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("name", "label_set", "model", "schedule", "priority", "state", "version", "report", "problem", "create_time", "start_time", "end_time", "problem_spec", "dataset_version", "attempts", "waiting_for")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    label_set: str
    model: str
    schedule: _designs_pb2.Schedule
    priority: Priority
    state: RunState
    version: str
    report: RunReport
    problem: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    problem_spec: str
    dataset_version: str
    attempts: int
    waiting_for: str
    def __init__(self, name: _Optional[str] = ..., label_set: _Optional[str] = ..., model: _Optional[str] = ..., schedule: _Optional[_Union[_designs_pb2.Schedule, _Mapping]] = ..., priority: _Optional[_Union[Priority, str]] = ..., state: _Optional[_Union[RunState, str]] = ..., version: _Optional[str] = ..., report: _Optional[_Union[RunReport, _Mapping]] = ..., problem: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., problem_spec: _Optional[str] = ..., dataset_version: _Optional[str] = ..., attempts: _Optional[int] = ..., waiting_for: _Optional[str] = ...) -> None: ...

class HeadLoss(_message.Message):
    __slots__ = ("head", "training_loss", "selection_loss")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TRAINING_LOSS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_LOSS_FIELD_NUMBER: _ClassVar[int]
    head: str
    training_loss: float
    selection_loss: float
    def __init__(self, head: _Optional[str] = ..., training_loss: _Optional[float] = ..., selection_loss: _Optional[float] = ...) -> None: ...

class EpochEvent(_message.Message):
    __slots__ = ("epoch", "max_epochs", "losses", "selection")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MAX_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    max_epochs: int
    losses: _containers.RepeatedCompositeFieldContainer[HeadLoss]
    selection: Score
    def __init__(self, epoch: _Optional[int] = ..., max_epochs: _Optional[int] = ..., losses: _Optional[_Iterable[_Union[HeadLoss, _Mapping]]] = ..., selection: _Optional[_Union[Score, _Mapping]] = ...) -> None: ...

class RunEvent(_message.Message):
    __slots__ = ("sequence", "time", "state", "epoch", "message", "report")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    state: RunState
    epoch: EpochEvent
    message: str
    report: RunReport
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[RunState, str]] = ..., epoch: _Optional[_Union[EpochEvent, _Mapping]] = ..., message: _Optional[str] = ..., report: _Optional[_Union[RunReport, _Mapping]] = ...) -> None: ...

class CreateRunRequest(_message.Message):
    __slots__ = ("parent", "run_id", "run", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    run_id: str
    run: Run
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., run_id: _Optional[str] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "label_set", "model", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    label_set: str
    model: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., label_set: _Optional[str] = ..., model: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("name", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...
