import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from regrow.labeling.v1 import datasets_pb2 as _datasets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AggregationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_METHOD_UNSPECIFIED: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_MAJORITY: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_SOFT_MAJORITY: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_DAWID_SKENE: _ClassVar[AggregationMethod]
AGGREGATION_METHOD_UNSPECIFIED: AggregationMethod
AGGREGATION_METHOD_MAJORITY: AggregationMethod
AGGREGATION_METHOD_SOFT_MAJORITY: AggregationMethod
AGGREGATION_METHOD_DAWID_SKENE: AggregationMethod

class LabelerSummary(_message.Message):
    __slots__ = ("labeler", "votes", "coverage", "conflict", "learned_accuracy", "gold_votes", "gold_accuracy", "gold_accuracy_low", "gold_accuracy_high")
    LABELER_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    LEARNED_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    GOLD_VOTES_FIELD_NUMBER: _ClassVar[int]
    GOLD_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    GOLD_ACCURACY_LOW_FIELD_NUMBER: _ClassVar[int]
    GOLD_ACCURACY_HIGH_FIELD_NUMBER: _ClassVar[int]
    labeler: str
    votes: int
    coverage: float
    conflict: float
    learned_accuracy: float
    gold_votes: int
    gold_accuracy: float
    gold_accuracy_low: float
    gold_accuracy_high: float
    def __init__(self, labeler: _Optional[str] = ..., votes: _Optional[int] = ..., coverage: _Optional[float] = ..., conflict: _Optional[float] = ..., learned_accuracy: _Optional[float] = ..., gold_votes: _Optional[int] = ..., gold_accuracy: _Optional[float] = ..., gold_accuracy_low: _Optional[float] = ..., gold_accuracy_high: _Optional[float] = ...) -> None: ...

class ClassCount(_message.Message):
    __slots__ = ("class_name", "training_rows", "gold_rows", "holdout_rows")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    GOLD_ROWS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_ROWS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    training_rows: int
    gold_rows: int
    holdout_rows: int
    def __init__(self, class_name: _Optional[str] = ..., training_rows: _Optional[int] = ..., gold_rows: _Optional[int] = ..., holdout_rows: _Optional[int] = ...) -> None: ...

class LabelSet(_message.Message):
    __slots__ = ("name", "problem_spec", "dataset_version", "method", "method_used", "labelers", "ignore_target_column", "training_rows", "gold_rows", "holdout_rows", "coverage", "conflict", "labeler_summaries", "class_counts", "gold_accuracy", "digest", "object_key", "create_time", "notes", "ledger_position")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    METHOD_USED_FIELD_NUMBER: _ClassVar[int]
    LABELERS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_TARGET_COLUMN_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    GOLD_ROWS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_ROWS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    LABELER_SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    CLASS_COUNTS_FIELD_NUMBER: _ClassVar[int]
    GOLD_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    LEDGER_POSITION_FIELD_NUMBER: _ClassVar[int]
    name: str
    problem_spec: str
    dataset_version: str
    method: AggregationMethod
    method_used: AggregationMethod
    labelers: _containers.RepeatedScalarFieldContainer[str]
    ignore_target_column: bool
    training_rows: int
    gold_rows: int
    holdout_rows: int
    coverage: float
    conflict: float
    labeler_summaries: _containers.RepeatedCompositeFieldContainer[LabelerSummary]
    class_counts: _containers.RepeatedCompositeFieldContainer[ClassCount]
    gold_accuracy: float
    digest: str
    object_key: str
    create_time: _timestamp_pb2.Timestamp
    notes: _containers.RepeatedScalarFieldContainer[str]
    ledger_position: int
    def __init__(self, name: _Optional[str] = ..., problem_spec: _Optional[str] = ..., dataset_version: _Optional[str] = ..., method: _Optional[_Union[AggregationMethod, str]] = ..., method_used: _Optional[_Union[AggregationMethod, str]] = ..., labelers: _Optional[_Iterable[str]] = ..., ignore_target_column: _Optional[bool] = ..., training_rows: _Optional[int] = ..., gold_rows: _Optional[int] = ..., holdout_rows: _Optional[int] = ..., coverage: _Optional[float] = ..., conflict: _Optional[float] = ..., labeler_summaries: _Optional[_Iterable[_Union[LabelerSummary, _Mapping]]] = ..., class_counts: _Optional[_Iterable[_Union[ClassCount, _Mapping]]] = ..., gold_accuracy: _Optional[float] = ..., digest: _Optional[str] = ..., object_key: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., ledger_position: _Optional[int] = ...) -> None: ...

class CreateLabelSetRequest(_message.Message):
    __slots__ = ("parent", "label_set_id", "label_set", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    label_set_id: str
    label_set: LabelSet
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., label_set_id: _Optional[str] = ..., label_set: _Optional[_Union[LabelSet, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetLabelSetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLabelSetsRequest(_message.Message):
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

class ListLabelSetsResponse(_message.Message):
    __slots__ = ("label_sets", "next_page_token")
    LABEL_SETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    label_sets: _containers.RepeatedCompositeFieldContainer[LabelSet]
    next_page_token: str
    def __init__(self, label_sets: _Optional[_Iterable[_Union[LabelSet, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExportLabelSetRequest(_message.Message):
    __slots__ = ("name", "format")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    name: str
    format: _datasets_pb2.FileFormat
    def __init__(self, name: _Optional[str] = ..., format: _Optional[_Union[_datasets_pb2.FileFormat, str]] = ...) -> None: ...
