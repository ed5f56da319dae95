from regrow.buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from regrow.types.v1 import problem_spec_pb2 as _problem_spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateProblemSpecRequest(_message.Message):
    __slots__ = ("parent", "problem_spec_id", "problem_spec", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_ID_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    problem_spec_id: str
    problem_spec: _problem_spec_pb2.ProblemSpec
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., problem_spec_id: _Optional[str] = ..., problem_spec: _Optional[_Union[_problem_spec_pb2.ProblemSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetProblemSpecRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListProblemSpecsRequest(_message.Message):
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

class ListProblemSpecsResponse(_message.Message):
    __slots__ = ("problem_specs", "next_page_token")
    PROBLEM_SPECS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    problem_specs: _containers.RepeatedCompositeFieldContainer[_problem_spec_pb2.ProblemSpec]
    next_page_token: str
    def __init__(self, problem_specs: _Optional[_Iterable[_Union[_problem_spec_pb2.ProblemSpec, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
