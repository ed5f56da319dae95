"""Walks through every page of a list call.

async for dataset in iterate(client.datasets.ListDatasets, ListDatasetsRequest(parent="projects/default")):
    ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


async def pages(call: Callable[[RequestT], Awaitable[ResponseT]], request: RequestT) -> AsyncIterator[ResponseT]:
    """Each page's answer. The request is not changed; its `page_size` is kept."""
    following: Any = type(request)()
    following.CopyFrom(request)
    while True:
        response: Any = await call(following)
        yield response
        if not response.next_page_token:
            return
        following.page_token = response.next_page_token


async def iterate(call: Callable[[RequestT], Awaitable[Message]], request: RequestT) -> AsyncIterator[Any]:
    """Each entry of each page, asked for when it is needed."""
    async for page in pages(call, request):
        for entry in getattr(page, _entries(page)):
            yield entry


def _entries(page: Message) -> str:
    """The one repeated field of messages in a list's response."""
    return next(f.name for f in page.DESCRIPTOR.fields if f.is_repeated and f.type == FieldDescriptor.TYPE_MESSAGE)
