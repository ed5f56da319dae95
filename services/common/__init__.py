"""The ground floor that every service stands on: settings, errors, rpc, objects, events, database, telemetry, formats.

It imports no service. What the gateway needs of it runs without torch, pandas or pyarrow.
"""
