"""Regrow: raw text and tables plus a few human labels become a production classifier that regrows from feedback.

`Client` talks to a gateway; `CallError` is what its calls raise. The generated stubs are in `regrow.<service>.v1`.
"""

from regrow.client import Client
from regrow.credentials import Credentials
from regrow.errors import CallError

__version__ = "0.1.0"
__all__ = ["CallError", "Client", "Credentials", "__version__"]
