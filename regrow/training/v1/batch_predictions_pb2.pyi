import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RowFilter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_FILTER_UNSPECIFIED: _ClassVar[RowFilter]
    ROW_FILTER_ALL: _ClassVar[RowFilter]
    ROW_FILTER_UNLABELED: _ClassVar[RowFilter]
    ROW_FILTER_HOLDOUT: _ClassVar[RowFilter]

class BatchPredictionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_PREDICTION_STATE_UNSPECIFIED: _ClassVar[BatchPredictionState]
    BATCH_PREDICTION_STATE_QUEUED: _ClassVar[BatchPredictionState]
    BATCH_PREDICTION_STATE_RUNNING: _ClassVar[BatchPredictionState]
    BATCH_PREDICTION_STATE_SUCCEEDED: _ClassVar[BatchPredictionState]
    BATCH_PREDICTION_STATE_FAILED: _ClassVar[BatchPredictionState]
    BATCH_PREDICTION_STATE_CANCELLED: _ClassVar[BatchPredictionState]

class ResultFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESULT_FORMAT_UNSPECIFIED: _ClassVar[ResultFormat]
    RESULT_FORMAT_PARQUET: _ClassVar[ResultFormat]
    RESULT_FORMAT_CSV: _ClassVar[ResultFormat]
ROW_FILTER_UNSPECIFIED: RowFilter
ROW_FILTER_ALL: RowFilter
ROW_FILTER_UNLABELED: RowFilter
ROW_FILTER_HOLDOUT: RowFilter
BATCH_PREDICTION_STATE_UNSPECIFIED: BatchPredictionState
BATCH_PREDICTION_STATE_QUEUED: BatchPredictionState
BATCH_PREDICTION_STATE_RUNNING: BatchPredictionState
BATCH_PREDICTION_STATE_SUCCEEDED: BatchPredictionState
BATCH_PREDICTION_STATE_FAILED: BatchPredictionState
BATCH_PREDICTION_STATE_CANCELLED: BatchPredictionState
RESULT_FORMAT_UNSPECIFIED: ResultFormat
RESULT_FORMAT_PARQUET: ResultFormat
RESULT_FORMAT_CSV: ResultFormat

class ClassCount(_message.Message):
    __slots__ = ("class_name", "rows")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    rows: int
    def __init__(self, class_name: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class BatchPrediction(_message.Message):
    __slots__ = ("name", "dataset_version", "model", "row_filter", "state", "version", "row_count", "rows_done", "rows_per_second", "time_left", "size_bytes", "class_counts", "notes", "problem", "attempts", "create_time", "start_time", "end_time", "waiting_for")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROW_FILTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLASS_COUNTS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    dataset_version: str
    model: str
    row_filter: RowFilter
    state: BatchPredictionState
    version: str
    row_count: int
    rows_done: int
    rows_per_second: float
    time_left: _duration_pb2.Duration
    size_bytes: int
    class_counts: _containers.RepeatedCompositeFieldContainer[ClassCount]
    notes: _containers.RepeatedScalarFieldContainer[str]
    problem: str
    attempts: int
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    waiting_for: str
    def __init__(self, name: _Optional[str] = ..., dataset_version: _Optional[str] = ..., model: _Optional[str] = ..., row_filter: _Optional[_Union[RowFilter, str]] = ..., state: _Optional[_Union[BatchPredictionState, str]] = ..., version: _Optional[str] = ..., row_count: _Optional[int] = ..., rows_done: _Optional[int] = ..., rows_per_second: _Optional[float] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., size_bytes: _Optional[int] = ..., class_counts: _Optional[_Iterable[_Union[ClassCount, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ..., problem: _Optional[str] = ..., attempts: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., waiting_for: _Optional[str] = ...) -> None: ...

class CreateBatchPredictionRequest(_message.Message):
    __slots__ = ("parent", "batch_prediction_id", "batch_prediction", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BATCH_PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_PREDICTION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    batch_prediction_id: str
    batch_prediction: BatchPrediction
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., batch_prediction_id: _Optional[str] = ..., batch_prediction: _Optional[_Union[BatchPrediction, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetBatchPredictionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBatchPredictionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListBatchPredictionsResponse(_message.Message):
    __slots__ = ("batch_predictions", "next_page_token")
    BATCH_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batch_predictions: _containers.RepeatedCompositeFieldContainer[BatchPrediction]
    next_page_token: str
    def __init__(self, batch_predictions: _Optional[_Iterable[_Union[BatchPrediction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelBatchPredictionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DownloadBatchPredictionRequest(_message.Message):
    __slots__ = ("name", "file_format", "link")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    name: str
    file_format: ResultFormat
    link: bool
    def __init__(self, name: _Optional[str] = ..., file_format: _Optional[_Union[ResultFormat, str]] = ..., link: _Optional[bool] = ...) -> None: ...
