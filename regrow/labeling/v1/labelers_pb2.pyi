import datetime

from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeywordLabeler(_message.Message):
    __slots__ = ("column", "keywords", "class_name", "within_words", "case_sensitive", "against")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    WITHIN_WORDS_FIELD_NUMBER: _ClassVar[int]
    CASE_SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    column: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    class_name: str
    within_words: bool
    case_sensitive: bool
    against: bool
    def __init__(self, column: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., class_name: _Optional[str] = ..., within_words: _Optional[bool] = ..., case_sensitive: _Optional[bool] = ..., against: _Optional[bool] = ...) -> None: ...

class RegexLabeler(_message.Message):
    __slots__ = ("column", "pattern", "class_name", "case_sensitive", "against")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    CASE_SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    column: str
    pattern: str
    class_name: str
    case_sensitive: bool
    against: bool
    def __init__(self, column: _Optional[str] = ..., pattern: _Optional[str] = ..., class_name: _Optional[str] = ..., case_sensitive: _Optional[bool] = ..., against: _Optional[bool] = ...) -> None: ...

class SqlLabeler(_message.Message):
    __slots__ = ("expression", "class_name")
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    expression: str
    class_name: str
    def __init__(self, expression: _Optional[str] = ..., class_name: _Optional[str] = ...) -> None: ...

class ColumnLabeler(_message.Message):
    __slots__ = ("column", "value_classes")
    class ValueClassesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUE_CLASSES_FIELD_NUMBER: _ClassVar[int]
    column: str
    value_classes: _containers.ScalarMap[str, str]
    def __init__(self, column: _Optional[str] = ..., value_classes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ImportedLabeler(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: str
    def __init__(self, origin: _Optional[str] = ...) -> None: ...

class HumanLabeler(_message.Message):
    __slots__ = ("gold",)
    GOLD_FIELD_NUMBER: _ClassVar[int]
    gold: bool
    def __init__(self, gold: _Optional[bool] = ...) -> None: ...

class FeedbackLabeler(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: str
    def __init__(self, source: _Optional[str] = ...) -> None: ...

class Labeler(_message.Message):
    __slots__ = ("name", "problem_spec", "description", "keyword", "regex", "sql", "column", "imported", "human", "feedback", "create_time", "retire_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    HUMAN_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    problem_spec: str
    description: str
    keyword: KeywordLabeler
    regex: RegexLabeler
    sql: SqlLabeler
    column: ColumnLabeler
    imported: ImportedLabeler
    human: HumanLabeler
    feedback: FeedbackLabeler
    create_time: _timestamp_pb2.Timestamp
    retire_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., problem_spec: _Optional[str] = ..., description: _Optional[str] = ..., keyword: _Optional[_Union[KeywordLabeler, _Mapping]] = ..., regex: _Optional[_Union[RegexLabeler, _Mapping]] = ..., sql: _Optional[_Union[SqlLabeler, _Mapping]] = ..., column: _Optional[_Union[ColumnLabeler, _Mapping]] = ..., imported: _Optional[_Union[ImportedLabeler, _Mapping]] = ..., human: _Optional[_Union[HumanLabeler, _Mapping]] = ..., feedback: _Optional[_Union[FeedbackLabeler, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateLabelerRequest(_message.Message):
    __slots__ = ("parent", "labeler_id", "labeler", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELER_ID_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    labeler_id: str
    labeler: Labeler
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., labeler_id: _Optional[str] = ..., labeler: _Optional[_Union[Labeler, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PreviewLabelerRequest(_message.Message):
    __slots__ = ("parent", "labeler", "dataset_version", "row_limit")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROW_LIMIT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    labeler: Labeler
    dataset_version: str
    row_limit: int
    def __init__(self, parent: _Optional[str] = ..., labeler: _Optional[_Union[Labeler, _Mapping]] = ..., dataset_version: _Optional[str] = ..., row_limit: _Optional[int] = ...) -> None: ...

class VoteExample(_message.Message):
    __slots__ = ("row", "class_name", "excerpt", "gold_class_name")
    ROW_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    GOLD_CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    row: str
    class_name: str
    excerpt: str
    gold_class_name: str
    def __init__(self, row: _Optional[str] = ..., class_name: _Optional[str] = ..., excerpt: _Optional[str] = ..., gold_class_name: _Optional[str] = ...) -> None: ...

class PreviewLabelerResponse(_message.Message):
    __slots__ = ("rows", "votes", "gold_votes", "gold_right", "examples", "warnings")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    GOLD_VOTES_FIELD_NUMBER: _ClassVar[int]
    GOLD_RIGHT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    votes: int
    gold_votes: int
    gold_right: int
    examples: _containers.RepeatedCompositeFieldContainer[VoteExample]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rows: _Optional[int] = ..., votes: _Optional[int] = ..., gold_votes: _Optional[int] = ..., gold_right: _Optional[int] = ..., examples: _Optional[_Iterable[_Union[VoteExample, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetLabelerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLabelersRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "problem_spec", "show_retired", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    SHOW_RETIRED_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    problem_spec: str
    show_retired: bool
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., problem_spec: _Optional[str] = ..., show_retired: _Optional[bool] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListLabelersResponse(_message.Message):
    __slots__ = ("labelers", "next_page_token")
    LABELERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    labelers: _containers.RepeatedCompositeFieldContainer[Labeler]
    next_page_token: str
    def __init__(self, labelers: _Optional[_Iterable[_Union[Labeler, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetireLabelerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ApplyLabelersRequest(_message.Message):
    __slots__ = ("parent", "dataset_version", "labelers", "problem_spec")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELERS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    parent: str
    dataset_version: str
    labelers: _containers.RepeatedScalarFieldContainer[str]
    problem_spec: str
    def __init__(self, parent: _Optional[str] = ..., dataset_version: _Optional[str] = ..., labelers: _Optional[_Iterable[str]] = ..., problem_spec: _Optional[str] = ...) -> None: ...

class LabelerOutcome(_message.Message):
    __slots__ = ("labeler", "votes", "reused", "problem")
    LABELER_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    REUSED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    labeler: str
    votes: int
    reused: bool
    problem: str
    def __init__(self, labeler: _Optional[str] = ..., votes: _Optional[int] = ..., reused: _Optional[bool] = ..., problem: _Optional[str] = ...) -> None: ...

class ApplyLabelersResponse(_message.Message):
    __slots__ = ("dataset_version", "outcomes")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    outcomes: _containers.RepeatedCompositeFieldContainer[LabelerOutcome]
    def __init__(self, dataset_version: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[LabelerOutcome, _Mapping]]] = ...) -> None: ...
