"""Starts the service: `python -m services.gateway`. With `--check`, looks at all that it needs instead."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.gateway.settings import GatewaySettings

check_if_asked(GatewaySettings, "gateway", Path(__file__).parent / "migrations")

from services.gateway.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
