import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from regrow.labeling.v1 import feedback_ledger_pb2 as _feedback_ledger_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegrowthState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REGROWTH_STATE_UNSPECIFIED: _ClassVar[RegrowthState]
    REGROWTH_STATE_CUTTING: _ClassVar[RegrowthState]
    REGROWTH_STATE_TRAINING: _ClassVar[RegrowthState]
    REGROWTH_STATE_COMPARING: _ClassVar[RegrowthState]
    REGROWTH_STATE_PROMOTED: _ClassVar[RegrowthState]
    REGROWTH_STATE_REFUSED: _ClassVar[RegrowthState]
    REGROWTH_STATE_FAILED: _ClassVar[RegrowthState]
REGROWTH_STATE_UNSPECIFIED: RegrowthState
REGROWTH_STATE_CUTTING: RegrowthState
REGROWTH_STATE_TRAINING: RegrowthState
REGROWTH_STATE_COMPARING: RegrowthState
REGROWTH_STATE_PROMOTED: RegrowthState
REGROWTH_STATE_REFUSED: RegrowthState
REGROWTH_STATE_FAILED: RegrowthState

class Policy(_message.Message):
    __slots__ = ("name", "model", "alias", "feedback_count", "max_age", "min_interval", "tolerance", "significance", "promote_on_tie", "paused", "pending_feedback", "create_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    SIGNIFICANCE_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_ON_TIE_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    alias: str
    feedback_count: int
    max_age: _duration_pb2.Duration
    min_interval: _duration_pb2.Duration
    tolerance: float
    significance: float
    promote_on_tie: bool
    paused: bool
    pending_feedback: int
    create_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., alias: _Optional[str] = ..., feedback_count: _Optional[int] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tolerance: _Optional[float] = ..., significance: _Optional[float] = ..., promote_on_tie: _Optional[bool] = ..., paused: _Optional[bool] = ..., pending_feedback: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("metric", "champion", "challenger", "difference", "low", "high", "p_value", "rows", "champion_only_right", "challenger_only_right")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_ONLY_RIGHT_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_ONLY_RIGHT_FIELD_NUMBER: _ClassVar[int]
    metric: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    p_value: float
    rows: int
    champion_only_right: int
    challenger_only_right: int
    def __init__(self, metric: _Optional[str] = ..., champion: _Optional[float] = ..., challenger: _Optional[float] = ..., difference: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., p_value: _Optional[float] = ..., rows: _Optional[int] = ..., champion_only_right: _Optional[int] = ..., challenger_only_right: _Optional[int] = ...) -> None: ...

class Regrowth(_message.Message):
    __slots__ = ("name", "trigger", "state", "cut", "label_set", "feedback_votes", "run", "champion", "challenger", "comparison", "decision", "create_time", "end_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_VOTES_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    trigger: str
    state: RegrowthState
    cut: _containers.RepeatedCompositeFieldContainer[_feedback_ledger_pb2.PartitionOffset]
    label_set: str
    feedback_votes: int
    run: str
    champion: str
    challenger: str
    comparison: Comparison
    decision: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., trigger: _Optional[str] = ..., state: _Optional[_Union[RegrowthState, str]] = ..., cut: _Optional[_Iterable[_Union[_feedback_ledger_pb2.PartitionOffset, _Mapping]]] = ..., label_set: _Optional[str] = ..., feedback_votes: _Optional[int] = ..., run: _Optional[str] = ..., champion: _Optional[str] = ..., challenger: _Optional[str] = ..., comparison: _Optional[_Union[Comparison, _Mapping]] = ..., decision: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreatePolicyRequest(_message.Message):
    __slots__ = ("parent", "policy_id", "policy", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    policy_id: str
    policy: Policy
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., policy_id: _Optional[str] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdatePolicyRequest(_message.Message):
    __slots__ = ("policy", "update_mask")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
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

class ListPoliciesResponse(_message.Message):
    __slots__ = ("policies", "next_page_token")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    next_page_token: str
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class TriggerRegrowthRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetRegrowthRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListRegrowthsRequest(_message.Message):
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

class ListRegrowthsResponse(_message.Message):
    __slots__ = ("regrowths", "next_page_token")
    REGROWTHS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    regrowths: _containers.RepeatedCompositeFieldContainer[Regrowth]
    next_page_token: str
    def __init__(self, regrowths: _Optional[_Iterable[_Union[Regrowth, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
