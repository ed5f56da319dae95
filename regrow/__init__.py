"""Regrow: raw text and tables plus a few human labels become a production classifier that regrows from feedback.

`Client` talks to a gateway, `AsyncClient` does from asyncio; `CallError` is what their calls raise. The messages are in
`regrow.<service>.v1`.
"""

from regrow.aio import AsyncClient
from regrow.client import Client
from regrow.credentials import Credentials
from regrow.errors import CallError

__version__ = "0.1.0"
__all__ = ["AsyncClient", "CallError", "Client", "Credentials", "__version__"]
