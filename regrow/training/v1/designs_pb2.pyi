from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TextEncoder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_ENCODER_UNSPECIFIED: _ClassVar[TextEncoder]
    TEXT_ENCODER_NONE: _ClassVar[TextEncoder]
    TEXT_ENCODER_BREW: _ClassVar[TextEncoder]
    TEXT_ENCODER_GRU: _ClassVar[TextEncoder]
    TEXT_ENCODER_MINILM: _ClassVar[TextEncoder]
    TEXT_ENCODER_CHECKPOINT: _ClassVar[TextEncoder]

class TabularEncoder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TABULAR_ENCODER_UNSPECIFIED: _ClassVar[TabularEncoder]
    TABULAR_ENCODER_NONE: _ClassVar[TabularEncoder]
    TABULAR_ENCODER_LINEAR: _ClassVar[TabularEncoder]
    TABULAR_ENCODER_FFN_SMALL: _ClassVar[TabularEncoder]
    TABULAR_ENCODER_FFN_MEDIUM: _ClassVar[TabularEncoder]
    TABULAR_ENCODER_FFN_LARGE: _ClassVar[TabularEncoder]
TEXT_ENCODER_UNSPECIFIED: TextEncoder
TEXT_ENCODER_NONE: TextEncoder
TEXT_ENCODER_BREW: TextEncoder
TEXT_ENCODER_GRU: TextEncoder
TEXT_ENCODER_MINILM: TextEncoder
TEXT_ENCODER_CHECKPOINT: TextEncoder
TABULAR_ENCODER_UNSPECIFIED: TabularEncoder
TABULAR_ENCODER_NONE: TabularEncoder
TABULAR_ENCODER_LINEAR: TabularEncoder
TABULAR_ENCODER_FFN_SMALL: TabularEncoder
TABULAR_ENCODER_FFN_MEDIUM: TabularEncoder
TABULAR_ENCODER_FFN_LARGE: TabularEncoder

class Design(_message.Message):
    __slots__ = ("template", "text", "tabular", "checkpoint", "max_tokens")
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TABULAR_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    template: str
    text: TextEncoder
    tabular: TabularEncoder
    checkpoint: str
    max_tokens: int
    def __init__(self, template: _Optional[str] = ..., text: _Optional[_Union[TextEncoder, str]] = ..., tabular: _Optional[_Union[TabularEncoder, str]] = ..., checkpoint: _Optional[str] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("design", "max_epochs", "learning_rate", "batch_size", "patience", "seed", "gold_weight")
    DESIGN_FIELD_NUMBER: _ClassVar[int]
    MAX_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    GOLD_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    design: Design
    max_epochs: int
    learning_rate: float
    batch_size: int
    patience: int
    seed: int
    gold_weight: float
    def __init__(self, design: _Optional[_Union[Design, _Mapping]] = ..., max_epochs: _Optional[int] = ..., learning_rate: _Optional[float] = ..., batch_size: _Optional[int] = ..., patience: _Optional[int] = ..., seed: _Optional[int] = ..., gold_weight: _Optional[float] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("id", "description", "design", "schedule", "cost")
    ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DESIGN_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    id: str
    description: str
    design: Design
    schedule: Schedule
    cost: str
    def __init__(self, id: _Optional[str] = ..., description: _Optional[str] = ..., design: _Optional[_Union[Design, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ..., cost: _Optional[str] = ...) -> None: ...

class ListTemplatesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTemplatesResponse(_message.Message):
    __slots__ = ("templates", "next_page_token")
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    next_page_token: str
    def __init__(self, templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ValidateDesignRequest(_message.Message):
    __slots__ = ("parent", "problem_spec", "schedule")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    problem_spec: str
    schedule: Schedule
    def __init__(self, parent: _Optional[str] = ..., problem_spec: _Optional[str] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class ValidateDesignResponse(_message.Message):
    __slots__ = ("schedule", "text_columns", "tabular_columns", "problems")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TEXT_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TABULAR_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    text_columns: _containers.RepeatedScalarFieldContainer[str]
    tabular_columns: _containers.RepeatedScalarFieldContainer[str]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ..., text_columns: _Optional[_Iterable[str]] = ..., tabular_columns: _Optional[_Iterable[str]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...
