"""gRPC as Regrow speaks it: one way to serve, to call, to say who calls, and to tell what went wrong.

`server.serve` runs a service, `client.internal_channel` calls one, `principal.current_principal` says who called, and
`status` is the one table between the error tree and gRPC's status codes.
"""
