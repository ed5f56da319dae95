"""Starts the service: `python -m services.registry`. With `--check`, looks at all that it needs instead."""

from pathlib import Path

from services.common.checking import check_if_asked
from services.registry.settings import RegistrySettings

check_if_asked(RegistrySettings, "registry", Path(__file__).parent / "migrations")

from services.registry.app import main  # noqa: E402 (a check may find that what this imports is missing)

main()
