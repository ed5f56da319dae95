import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackFate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_FATE_UNSPECIFIED: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_REPEATED: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_REUSED_ID: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_AMENDED: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_DISAGREED: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_LATE: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_UNKNOWN_PREDICTION: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_EXPIRED_PREDICTION: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_UNKNOWN_CLASS: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_UNKNOWN_SPEC: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_UNREADABLE_FEATURES: _ClassVar[FeedbackFate]
    FEEDBACK_FATE_JOINED_LATER: _ClassVar[FeedbackFate]
FEEDBACK_FATE_UNSPECIFIED: FeedbackFate
FEEDBACK_FATE_REPEATED: FeedbackFate
FEEDBACK_FATE_REUSED_ID: FeedbackFate
FEEDBACK_FATE_AMENDED: FeedbackFate
FEEDBACK_FATE_DISAGREED: FeedbackFate
FEEDBACK_FATE_LATE: FeedbackFate
FEEDBACK_FATE_UNKNOWN_PREDICTION: FeedbackFate
FEEDBACK_FATE_EXPIRED_PREDICTION: FeedbackFate
FEEDBACK_FATE_UNKNOWN_CLASS: FeedbackFate
FEEDBACK_FATE_UNKNOWN_SPEC: FeedbackFate
FEEDBACK_FATE_UNREADABLE_FEATURES: FeedbackFate
FEEDBACK_FATE_JOINED_LATER: FeedbackFate

class GetFeedbackStatsRequest(_message.Message):
    __slots__ = ("parent",)
    PARENT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    def __init__(self, parent: _Optional[str] = ...) -> None: ...

class SourceCount(_message.Message):
    __slots__ = ("source", "labeler", "votes")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    source: str
    labeler: str
    votes: int
    def __init__(self, source: _Optional[str] = ..., labeler: _Optional[str] = ..., votes: _Optional[int] = ...) -> None: ...

class FeedbackStats(_message.Message):
    __slots__ = ("model", "votes", "used", "unmatched", "repeated_count", "predictions", "lag", "sources", "fates", "prediction_lag")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    FATES_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_LAG_FIELD_NUMBER: _ClassVar[int]
    model: str
    votes: int
    used: int
    unmatched: int
    repeated_count: int
    predictions: int
    lag: int
    sources: _containers.RepeatedCompositeFieldContainer[SourceCount]
    fates: _containers.RepeatedCompositeFieldContainer[FateCount]
    prediction_lag: int
    def __init__(self, model: _Optional[str] = ..., votes: _Optional[int] = ..., used: _Optional[int] = ..., unmatched: _Optional[int] = ..., repeated_count: _Optional[int] = ..., predictions: _Optional[int] = ..., lag: _Optional[int] = ..., sources: _Optional[_Iterable[_Union[SourceCount, _Mapping]]] = ..., fates: _Optional[_Iterable[_Union[FateCount, _Mapping]]] = ..., prediction_lag: _Optional[int] = ...) -> None: ...

class FateCount(_message.Message):
    __slots__ = ("fate", "count")
    FATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    fate: FeedbackFate
    count: int
    def __init__(self, fate: _Optional[_Union[FeedbackFate, str]] = ..., count: _Optional[int] = ...) -> None: ...

class ListFeedbackIssuesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "fate", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    fate: FeedbackFate
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., fate: _Optional[_Union[FeedbackFate, str]] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class FeedbackIssue(_message.Message):
    __slots__ = ("event_id", "source", "prediction", "class_names", "fate", "other_class_names", "other_source", "observe_time", "accept_time")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    OTHER_CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    OTHER_SOURCE_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    source: str
    prediction: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    fate: FeedbackFate
    other_class_names: _containers.RepeatedScalarFieldContainer[str]
    other_source: str
    observe_time: _timestamp_pb2.Timestamp
    accept_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., source: _Optional[str] = ..., prediction: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., fate: _Optional[_Union[FeedbackFate, str]] = ..., other_class_names: _Optional[_Iterable[str]] = ..., other_source: _Optional[str] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., accept_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListFeedbackIssuesResponse(_message.Message):
    __slots__ = ("issues", "next_page_token")
    ISSUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    issues: _containers.RepeatedCompositeFieldContainer[FeedbackIssue]
    next_page_token: str
    def __init__(self, issues: _Optional[_Iterable[_Union[FeedbackIssue, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListUnmatchedFeedbackRequest(_message.Message):
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

class UnmatchedFeedback(_message.Message):
    __slots__ = ("event_id", "prediction", "source", "class_names", "reason", "accept_time")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    prediction: str
    source: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    accept_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., prediction: _Optional[str] = ..., source: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., accept_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListUnmatchedFeedbackResponse(_message.Message):
    __slots__ = ("feedback", "next_page_token")
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    feedback: _containers.RepeatedCompositeFieldContainer[UnmatchedFeedback]
    next_page_token: str
    def __init__(self, feedback: _Optional[_Iterable[_Union[UnmatchedFeedback, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PartitionOffset(_message.Message):
    __slots__ = ("topic", "partition", "offset")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    offset: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class CutLabelSetRequest(_message.Message):
    __slots__ = ("model", "base_label_set", "offsets", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BASE_LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    base_label_set: str
    offsets: _containers.RepeatedCompositeFieldContainer[PartitionOffset]
    request_id: str
    def __init__(self, model: _Optional[str] = ..., base_label_set: _Optional[str] = ..., offsets: _Optional[_Iterable[_Union[PartitionOffset, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CutLabelSetResponse(_message.Message):
    __slots__ = ("label_set", "dataset_version", "feedback_votes", "appended_rows")
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_VOTES_FIELD_NUMBER: _ClassVar[int]
    APPENDED_ROWS_FIELD_NUMBER: _ClassVar[int]
    label_set: str
    dataset_version: str
    feedback_votes: int
    appended_rows: int
    def __init__(self, label_set: _Optional[str] = ..., dataset_version: _Optional[str] = ..., feedback_votes: _Optional[int] = ..., appended_rows: _Optional[int] = ...) -> None: ...

class ListAppliedEventsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListAppliedEventsResponse(_message.Message):
    __slots__ = ("ledger_event_ids", "unmatched_event_ids")
    LEDGER_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    UNMATCHED_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    ledger_event_ids: _containers.RepeatedScalarFieldContainer[str]
    unmatched_event_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ledger_event_ids: _Optional[_Iterable[str]] = ..., unmatched_event_ids: _Optional[_Iterable[str]] = ...) -> None: ...
