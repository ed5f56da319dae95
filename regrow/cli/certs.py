"""`regrow certs`: certificates of an own authority, for `regrow up`, compose, or to try TLS with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regrow.cli import output
from regrow.cli.options import Mistake


def certs(
    folder: Annotated[Path, typer.Argument(help="Where the files go; made where it isn't there.")],
    host: Annotated[
        list[str] | None, typer.Option("--host", help="A name or address that clients call it by. May be repeated.")
    ] = None,
) -> None:
    """Make certificates for the services and for the gateway's public doors, and print the settings that use them.

    An authority is made with them, and kept. Later calls renew what ends within 30 days; running services take it up.
    """
    try:
        from regrow.local import certificates  # here: a client alone has no `cryptography`
    except ImportError:
        raise Mistake("The package 'cryptography' makes them: pip install 'regrow[service]'.") from None
    try:
        made = certificates.make(folder, host or [])
    except ValueError as error:
        raise Mistake(f"{folder} holds something else than certificates: {error}") from None
    for name, value in certificates.environment(made).items():
        output.say(f"export {name}={value}")
    output.tell(f"Keep {made / 'ca-key.pem'} to yourself: who has it can pass for any service. Clients need ca.pem alone.")
