"""Starts the service: `python -m services.gateway`. `--help` tells what else it does."""

from collections.abc import Iterable
from pathlib import Path

from services.common.checking import Finding, check_if_asked
from services.common.command_line import read_command_line
from services.gateway.settings import GatewaySettings

read_command_line(
    "gateway", "The gateway: the public door over REST and gRPC, with keys, predictions and feedback.",
    commands={"keys reset": "makes a new admin key, on the machine that has the data folder"},
)  # fmt: skip


def _sign_on(settings: GatewaySettings) -> Iterable[Finding]:
    from services.gateway.tokens.checking import sign_on

    return sign_on(settings)


check_if_asked(GatewaySettings, "gateway", Path(__file__).parent / "migrations", own={"sign-on": _sign_on})

from services.gateway.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
