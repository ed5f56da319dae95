import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Drawn(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAWN_UNSPECIFIED: _ClassVar[Drawn]
    DRAWN_RANDOM: _ClassVar[Drawn]
    DRAWN_GUIDED: _ClassVar[Drawn]
    DRAWN_FOUND: _ClassVar[Drawn]
DRAWN_UNSPECIFIED: Drawn
DRAWN_RANDOM: Drawn
DRAWN_GUIDED: Drawn
DRAWN_FOUND: Drawn

class Vote(_message.Message):
    __slots__ = ("name", "row", "labeler", "class_names", "against", "confidence", "gold", "drawn", "annotator", "vote_id", "create_time", "retract_time", "prediction")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRACT_TIME_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    row: int
    labeler: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    against: bool
    confidence: float
    gold: bool
    drawn: Drawn
    annotator: str
    vote_id: str
    create_time: _timestamp_pb2.Timestamp
    retract_time: _timestamp_pb2.Timestamp
    prediction: str
    def __init__(self, name: _Optional[str] = ..., row: _Optional[int] = ..., labeler: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., against: _Optional[bool] = ..., confidence: _Optional[float] = ..., gold: _Optional[bool] = ..., drawn: _Optional[_Union[Drawn, str]] = ..., annotator: _Optional[str] = ..., vote_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retract_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., prediction: _Optional[str] = ...) -> None: ...

class WriteVotesRequest(_message.Message):
    __slots__ = ("parent", "votes")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    parent: str
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    def __init__(self, parent: _Optional[str] = ..., votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ...) -> None: ...

class WriteVotesResponse(_message.Message):
    __slots__ = ("written", "repeated_count")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    REPEATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    written: int
    repeated_count: int
    def __init__(self, written: _Optional[int] = ..., repeated_count: _Optional[int] = ...) -> None: ...

class ListVotesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "labeler", "row", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    labeler: str
    row: int
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., labeler: _Optional[str] = ..., row: _Optional[int] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListVotesResponse(_message.Message):
    __slots__ = ("votes", "next_page_token")
    VOTES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    next_page_token: str
    def __init__(self, votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetractVotesRequest(_message.Message):
    __slots__ = ("parent", "votes", "why")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    votes: _containers.RepeatedScalarFieldContainer[str]
    why: str
    def __init__(self, parent: _Optional[str] = ..., votes: _Optional[_Iterable[str]] = ..., why: _Optional[str] = ...) -> None: ...

class RetractVotesResponse(_message.Message):
    __slots__ = ("retracted",)
    RETRACTED_FIELD_NUMBER: _ClassVar[int]
    retracted: int
    def __init__(self, retracted: _Optional[int] = ...) -> None: ...
