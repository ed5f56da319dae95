# Made by `make protos` from regrow/aio/paging.py, without the words of asyncio. Edit that file.
"""Walks through every page of a list call.

for dataset in iterate(client.datasets.ListDatasets, ListDatasetsRequest(parent="projects/default")):
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


def pages(call: Callable[[RequestT], ResponseT], request: RequestT) -> Iterator[ResponseT]:
    """Each page's answer. The request is not changed; its `page_size` is kept."""
    following: Any = type(request)()
    following.CopyFrom(request)
    while True:
        response: Any = call(following)
        yield response
        if not response.next_page_token:
            return
        following.page_token = response.next_page_token


def iterate(call: Callable[[RequestT], Message], request: RequestT) -> Iterator[Any]:
    """Each entry of each page, asked for when it is needed."""
    for page in pages(call, request):
        yield from getattr(page, _entries(page))


def _entries(page: Message) -> str:
    """The one repeated field of messages in a list's response."""
    return next(f.name for f in page.DESCRIPTOR.fields if f.is_repeated and f.type == FieldDescriptor.TYPE_MESSAGE)
