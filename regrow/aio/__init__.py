"""The client for programs that run on asyncio.

    async with regrow.AsyncClient() as client:
        answer = await client.predict("reviews", [{"text": "Lovely"}])
        async for dataset in client.datasets.ListDatasets.each(request):
            ...

The blocking client is made from these files: `protos/twin.py` takes the words of asyncio out (`make protos`), so what is
written here once is there twice, and `make lint` tells where the two differ.
"""

from regrow.aio.client import AsyncClient

__all__ = ["AsyncClient"]
