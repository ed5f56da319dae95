from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from regrow.labeling.v1 import datasets_pb2 as _datasets_pb2
from regrow.labeling.v1 import votes_pb2 as _votes_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RowStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_STRATEGY_UNSPECIFIED: _ClassVar[RowStrategy]
    ROW_STRATEGY_RANDOM: _ClassVar[RowStrategy]
    ROW_STRATEGY_MARGIN: _ClassVar[RowStrategy]
ROW_STRATEGY_UNSPECIFIED: RowStrategy
ROW_STRATEGY_RANDOM: RowStrategy
ROW_STRATEGY_MARGIN: RowStrategy

class NextRowsRequest(_message.Message):
    __slots__ = ("parent", "problem_spec", "labeler", "annotator", "strategy", "count", "holdout")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    problem_spec: str
    labeler: str
    annotator: str
    strategy: RowStrategy
    count: int
    holdout: bool
    def __init__(self, parent: _Optional[str] = ..., problem_spec: _Optional[str] = ..., labeler: _Optional[str] = ..., annotator: _Optional[str] = ..., strategy: _Optional[_Union[RowStrategy, str]] = ..., count: _Optional[int] = ..., holdout: _Optional[bool] = ...) -> None: ...

class RowToLabel(_message.Message):
    __slots__ = ("row", "drawn", "why")
    ROW_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    row: _datasets_pb2.Row
    drawn: _votes_pb2.Drawn
    why: str
    def __init__(self, row: _Optional[_Union[_datasets_pb2.Row, _Mapping]] = ..., drawn: _Optional[_Union[_votes_pb2.Drawn, str]] = ..., why: _Optional[str] = ...) -> None: ...

class NextRowsResponse(_message.Message):
    __slots__ = ("rows", "note")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RowToLabel]
    note: str
    def __init__(self, rows: _Optional[_Iterable[_Union[RowToLabel, _Mapping]]] = ..., note: _Optional[str] = ...) -> None: ...

class SubmitAnnotationRequest(_message.Message):
    __slots__ = ("parent", "labeler", "row", "class_names", "annotator", "drawn")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    labeler: str
    row: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    annotator: str
    drawn: _votes_pb2.Drawn
    def __init__(self, parent: _Optional[str] = ..., labeler: _Optional[str] = ..., row: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., annotator: _Optional[str] = ..., drawn: _Optional[_Union[_votes_pb2.Drawn, str]] = ...) -> None: ...

class UndoAnnotationRequest(_message.Message):
    __slots__ = ("parent", "labeler", "annotator")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    parent: str
    labeler: str
    annotator: str
    def __init__(self, parent: _Optional[str] = ..., labeler: _Optional[str] = ..., annotator: _Optional[str] = ...) -> None: ...

class GetAnnotationProgressRequest(_message.Message):
    __slots__ = ("parent", "labeler")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELER_FIELD_NUMBER: _ClassVar[int]
    parent: str
    labeler: str
    def __init__(self, parent: _Optional[str] = ..., labeler: _Optional[str] = ...) -> None: ...

class AnnotatorCount(_message.Message):
    __slots__ = ("annotator", "rows")
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    annotator: str
    rows: int
    def __init__(self, annotator: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class AnswerCount(_message.Message):
    __slots__ = ("class_name", "training_rows", "holdout_rows")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_ROWS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    training_rows: int
    holdout_rows: int
    def __init__(self, class_name: _Optional[str] = ..., training_rows: _Optional[int] = ..., holdout_rows: _Optional[int] = ...) -> None: ...

class AnnotationProgress(_message.Message):
    __slots__ = ("rows", "answered_rows", "annotators", "classes")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_ROWS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATORS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    answered_rows: int
    annotators: _containers.RepeatedCompositeFieldContainer[AnnotatorCount]
    classes: _containers.RepeatedCompositeFieldContainer[AnswerCount]
    def __init__(self, rows: _Optional[int] = ..., answered_rows: _Optional[int] = ..., annotators: _Optional[_Iterable[_Union[AnnotatorCount, _Mapping]]] = ..., classes: _Optional[_Iterable[_Union[AnswerCount, _Mapping]]] = ...) -> None: ...
