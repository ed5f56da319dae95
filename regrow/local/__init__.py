"""Regrow on one machine: starts the four services, keeps them running, stops them.

with Local(data=Path("data"), free_ports=True) as local:
    client = regrow.Client(local.grpc_address, local.admin_key)
"""

from regrow.local.launcher import LaunchError, Local, end, reset_key

__all__ = ["LaunchError", "Local", "end", "reset_key"]
